//! `lovage exec MODULE.wasm`: one task, on the broker in memory, with a host and a mover as on a platform.

use tokio_util::sync::CancellationToken;

use super::{Exec, MAIN};
use crate::broker::memory::Memory;
use crate::broker::{Clock as _, Settings, SystemClock};
use crate::cli::module::examine;
use crate::cli::{Fault, input, output, sandbox};
use crate::client::{Client, Place, Watch};
use crate::host::{self, Host};
use crate::model::{ModuleName, Signature, TaskName, TaskRef, Tenant};
use crate::protocol::note::printable;
use crate::schedule::mover::Mover;
use crate::telemetry::Metrics;

impl Exec {
    pub(super) async fn run_module(self) -> Result<(), Fault> {
        let tenant = Tenant::default_tenant();
        let memory = Memory::starting_at(SystemClock.now());
        memory.provision(&tenant, &Settings::default());
        let broker = memory.broker();
        let client = Client::new(broker.clone(), tenant.clone());
        let main: ModuleName = MAIN.parse()?;
        let mut record = None;
        let mut http = Vec::new();
        let modules = std::iter::once((main, self.file.clone())).chain(self.modules.clone());
        for (name, file) in modules {
            let examined = examine(name.clone(), None, &file, self.manifest(&name)?, &self.cache).await?;
            http.extend(examined.upload.manifest.grants.http.iter().cloned());
            let pushed = client.push(examined.upload).await?;
            record.get_or_insert(pushed);
        }
        let Some(record) = record else { return Err(Fault::usage("no module")) };
        let task = self.choose(&record.tasks.iter().map(|task| task.name.clone()).collect::<Vec<_>>())?;
        let signature = Signature::new(
            TaskRef { module: record.name.clone(), version: None, task },
            input::read(self.input.as_deref())?,
        );
        let stop = CancellationToken::new();
        let mut config = host::Config::new(tenant, "exec".parse()?, 1);
        // Whoever runs it is tenant and operator in one.
        config.allow.all.http = Some(http);
        config.allow.all.exceptions = Some(true);
        let host = Host::begin(broker.clone(), sandbox::open(1, &self.cache)?, config, Metrics::default()).await?;
        let mover = Mover::begin(broker).await?;
        let call = async {
            let called = client.call_watched(signature, &Place::default(), |_| {}, &mut |watch| self.show(watch)).await;
            stop.cancel();
            called
        };
        let (called, host, mover) = tokio::join!(call, host.serve(stop.clone()), mover.serve(stop.clone()));
        host?;
        mover?;
        output::value(&client.output(&called?).await?)
    }

    fn choose(&self, tasks: &[TaskName]) -> Result<TaskName, Fault> {
        let known = || tasks.iter().map(TaskName::as_str).collect::<Vec<_>>().join(", ");
        match (&self.task, tasks) {
            (Some(task), tasks) if tasks.contains(task) => Ok(task.clone()),
            (Some(task), _) => Err(Fault::usage(format!("the module has no task {task} (there is {})", known()))),
            (None, [only]) => Ok(only.clone()),
            (None, _) => Err(Fault::usage(format!("choose a task with --task: {}", known()))),
        }
    }

    fn show(&self, watch: Watch) {
        if self.quiet {
            return;
        }
        match watch {
            Watch::Log(line) => eprintln!("{:5} {}", line.level.as_str(), printable(&line.message)),
            Watch::Retrying { next, failure, .. } => {
                eprintln!("attempt {} failed, trying again: {}", next - 1, printable(&failure.to_string()));
            }
            Watch::Progress(progress) => {
                let of = progress.total.map(|total| format!(" of {total}")).unwrap_or_default();
                eprintln!("progress {}{of} {}", progress.done, printable(&progress.note.unwrap_or_default()));
            }
        }
    }
}
