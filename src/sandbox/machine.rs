//! The engine of each class, with what belongs to it: its pool of instances, what guests may import, and what makes them give way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::{Engine, Store};

use super::config::Config;
use super::engine::{self, FUEL_YIELD_INTERVAL};
use super::epoch::{Ticker, Ticking};
use super::error::Error;
use super::guest::Guest;
use super::http::Client;
use super::module::Linkers;
use crate::model::{EngineClass, Metering};

/// What runs the modules of one class.
pub(super) struct Machine {
    pub(super) engine: Engine,
    pub(super) linkers: Linkers,
    /// Where no fuel is counted.
    ticker: Option<Ticker>,
}

impl Machine {
    fn new(config: &Config, class: EngineClass, http: Arc<Client>) -> Result<Self, Error> {
        let engine = engine::running(config, class)?;
        let ticker = match class.metering {
            Metering::Fuel => None,
            Metering::Deadline => Some(Ticker::begin(engine.clone())?),
        };
        Ok(Self { linkers: Linkers::new(&engine, http)?, engine, ticker })
    }

    /// Sees to it that the guest of a store that begins gives way; it must be held for as long as the guest may run.
    pub(super) fn meter(&self, store: &mut Store<Guest>, fuel: Option<u64>) -> wasmtime::Result<Option<Ticking>> {
        let Some(ticker) = &self.ticker else {
            store.set_fuel(fuel.unwrap_or(u64::MAX))?;
            store.fuel_async_yield_interval(Some(FUEL_YIELD_INTERVAL))?;
            return Ok(None);
        };
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        Ok(Some(ticker.ticking()))
    }
}

/// The machines of a sandbox. All but that of the usual class are made when a module first wants them: a pool takes address space,
/// and one without fuel has a thread.
pub(super) struct Machines {
    config: Config,
    http: Arc<Client>,
    usual: Arc<Machine>,
    others: Mutex<HashMap<EngineClass, Arc<Machine>>>,
}

impl Machines {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let http = Arc::new(Client::new(&config.http)?);
        let usual = Arc::new(Machine::new(config, EngineClass::default(), Arc::clone(&http))?);
        Ok(Self { config: config.clone(), http, usual, others: Mutex::default() })
    }

    pub(super) fn of(&self, class: EngineClass) -> Result<Arc<Machine>, Error> {
        if class == EngineClass::default() {
            return Ok(Arc::clone(&self.usual));
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(machine) = others.get(&class) {
            return Ok(Arc::clone(machine));
        }
        let machine = Arc::new(Machine::new(&self.config, class, Arc::clone(&self.http))?);
        others.insert(class, Arc::clone(&machine));
        Ok(machine)
    }
}
