//! Being asked to stop.

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Fault;

/// Waits for ctrl-c or a request to terminate, then fires `stop`. A second one ends the process at once.
pub(super) async fn stop_when_asked(stop: CancellationToken) -> Result<(), Fault> {
    asked().await?;
    info!("stopping; once more to stop at once");
    stop.cancel();
    asked().await?;
    Err(Fault::platform("stopped before everything had ended"))
}

#[cfg(unix)]
async fn asked() -> Result<(), Fault> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| Fault::platform(format!("failed to listen for signals: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn asked() -> Result<(), Fault> {
    tokio::signal::ctrl_c().await.map_err(|error| Fault::platform(format!("failed to listen for ctrl-c: {error}")))
}
