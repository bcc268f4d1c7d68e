//! Hints of other processes, on a connection of its own.

use std::time::Duration;

use super::connect::Dialer;

/// How long a broken connection is left alone; hints are no more than hints.
const PAUSE: Duration = Duration::from_secs(1);

/// Listens until it is aborted. The connection's own task passes the hints on.
pub(super) async fn listen(dialer: Dialer) {
    loop {
        if let Ok((client, connection)) = dialer.dial().await {
            let listening = client.batch_execute("LISTEN everstream_changes").await;
            if listening.is_ok() {
                connection.await.ok();
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
