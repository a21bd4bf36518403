//! How much more two cores do than one: two threads of a sandbox, or two processes of one thread.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use lovage::sandbox::Module;
use tokio::sync::mpsc;

use crate::guests::{self, Guest};
use crate::{Line, Outcomes, QUEUED, sandbox};

/// How long each is measured.
const SECONDS: u64 = 3;

/// Calls a second of each arrangement.
pub(crate) fn part() -> Outcomes<()> {
    println!("\n{:<32} {:>10} {:>6}", "calls of hello/add", "calls/s", "ratio");
    let one = threads(1, SECONDS)?;
    let show = |what: &str, rate: f64| println!("{what:<32} {rate:>10.0} {:>6.2}", rate / one);
    show("one process, one thread", one);
    show("one process, two threads", threads(2, SECONDS)?);
    show("two processes of one thread", processes(2)?);
    Ok(())
}

/// Prints the rate of one process with one thread.
pub(crate) fn process(seconds: u64) -> Outcomes<()> {
    println!("{}", threads(1, seconds)?);
    Ok(())
}

fn processes(count: usize) -> Outcomes<f64> {
    let program = std::env::current_exe()?;
    let start = |_| {
        let words = ["threads", "process", &SECONDS.to_string()].map(str::to_owned);
        Command::new(&program).args(words).stdout(Stdio::piped()).spawn()
    };
    let children = (0..count).map(start).collect::<Result<Vec<_>, _>>()?;
    let mut sum = 0.0;
    for mut child in children {
        let mut said = String::new();
        child.stdout.take().ok_or("no output")?.read_to_string(&mut said)?;
        child.wait()?;
        sum += said.trim().parse::<f64>()?;
    }
    Ok(sum)
}

/// Calls a second in a sandbox with so many threads, whose caller is the main thread.
fn threads(count: usize, seconds: u64) -> Outcomes<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guest = guests::all()?.into_iter().find(|guest| guest.name == "hello").ok_or("build the guest hello first")?;
    let cache = tempfile::TempDir::new()?;
    let module = runtime.block_on(loaded(cache.path(), count, &guest))?;
    Ok(runtime.block_on(module.rate(Duration::from_secs(seconds))))
}

async fn loaded<'g>(cache: &Path, threads: usize, guest: &'g Guest) -> Outcomes<Line<'g>> {
    let sandbox = sandbox(cache, threads)?;
    let module: Arc<Module> = sandbox.load(&guest.digest(), guest.wasm.clone()).await?;
    Ok(Line { sandbox, module, guest })
}

impl Line<'_> {
    async fn rate(&self, time: Duration) -> f64 {
        self.round(2_000).await;
        let (notes, _heard) = mpsc::channel(1);
        let began = Instant::now();
        let call = |()| self.sandbox.invoke(Arc::clone(&self.module), self.guest.invocation(&notes));
        let calls = stream::repeat(()).take_while(|()| std::future::ready(began.elapsed() < time)).map(call);
        let done = calls.buffer_unordered(QUEUED).count().await;
        f64::from(u32::try_from(done).unwrap_or(u32::MAX)) / began.elapsed().as_secs_f64()
    }
}
