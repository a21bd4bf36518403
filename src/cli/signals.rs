//! Being asked to stop.

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Fault;

/// Waits for ctrl-c or a request to terminate, then fires `stop`. A second one ends the process at once.
pub(super) async fn stop_when_asked(stop: CancellationToken) -> Result<(), Fault> {
    // One listening for both: a second signal that came between two listenings would be lost.
    let mut signals = Signals::listen()?;
    signals.next().await?;
    info!("stopping; once more to stop at once");
    stop.cancel();
    signals.next().await?;
    Err(Fault::platform("stopped before everything had ended"))
}

/// Requests to stop.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> Result<Self, Fault> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen =
            |kind| signal(kind).map_err(|error| Fault::platform(format!("failed to listen for signals: {error}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> Result<(), Fault> {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        Ok(())
    }
}

/// Requests to stop.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Result<Self, Fault> {
        Ok(Self)
    }

    async fn next(&mut self) -> Result<(), Fault> {
        tokio::signal::ctrl_c().await.map_err(|error| Fault::platform(format!("failed to listen for ctrl-c: {error}")))
    }
}
