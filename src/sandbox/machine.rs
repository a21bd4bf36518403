//! The engine of each metering, with what belongs to it: its pool of instances, what guests may import, and what makes them give way.

use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::{Engine, Store};

use super::config::Config;
use super::engine::{self, FUEL_YIELD_INTERVAL};
use super::epoch::{Ticker, Ticking};
use super::error::Error;
use super::guest::Guest;
use super::http::Client;
use super::module::Linkers;
use crate::model::Metering;

/// What runs the modules of one metering.
pub(super) struct Machine {
    pub(super) engine: Engine,
    pub(super) linkers: Linkers,
    /// Where no fuel is counted.
    ticker: Option<Ticker>,
}

impl Machine {
    fn new(config: &Config, metering: Metering, http: Arc<Client>) -> Result<Self, Error> {
        let engine = engine::running(config, metering)?;
        let ticker = match metering {
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

/// The machines of a sandbox. The one without fuel is made when a module first wants it: its pool takes address space, and it has a
/// thread.
pub(super) struct Machines {
    config: Config,
    http: Arc<Client>,
    fuel: Arc<Machine>,
    deadline: Mutex<Option<Arc<Machine>>>,
}

impl Machines {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let http = Arc::new(Client::new(&config.http)?);
        let fuel = Arc::new(Machine::new(config, Metering::Fuel, Arc::clone(&http))?);
        Ok(Self { config: config.clone(), http, fuel, deadline: Mutex::default() })
    }

    pub(super) fn of(&self, metering: Metering) -> Result<Arc<Machine>, Error> {
        match metering {
            Metering::Fuel => Ok(Arc::clone(&self.fuel)),
            Metering::Deadline => {
                let mut deadline = self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(machine) = &*deadline {
                    return Ok(Arc::clone(machine));
                }
                let machine = Arc::new(Machine::new(&self.config, metering, Arc::clone(&self.http))?);
                Ok(Arc::clone(deadline.insert(machine)))
            }
        }
    }
}
