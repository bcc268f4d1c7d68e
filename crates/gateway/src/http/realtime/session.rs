use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::ws::{WebSocket, close_code};
use everstream_core::limits;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message};

use super::end::{End, frame};
use super::peer::Peer;
use super::tally::Tally;
use crate::app::App;
use crate::upstream::Socket;

/// A client and an upstream that talk.
pub(super) struct Session {
    app: Arc<App>,
    /// Dropped first: who sees the end finds the line in the log.
    tally: Tally,
    client: Side<WebSocket>,
    upstream: Side<Socket>,
}

/// One side of it.
struct Side<P> {
    peer: P,
    /// What it is to be told next, and since when.
    next: Option<(Message, Instant)>,
    unflushed: bool,
    heard: Instant,
    /// It has said goodbye, or broke.
    over: bool,
}

impl Session {
    pub(super) fn new(app: Arc<App>, client: WebSocket, upstream: Socket, tally: Tally) -> Self {
        Self {
            app,
            client: Side::new(client),
            upstream: Side::new(upstream),
            tally,
        }
    }

    /// Until either side has enough.
    pub(super) async fn run(mut self) {
        let app = Arc::clone(&self.app);
        let _session = app.lifecycle.session();
        let end = self.talk().await;
        self.tally.outcome = end.outcome;
        // A socket that is closed with bytes unread is reset, which may overtake the reason.
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let goodbyes =
            async { tokio::join!(client.leave(end.client), upstream.leave(end.upstream)) };
        let _ = timeout(limits::WS_CLOSE_WAIT, goodbyes).await;
    }

    async fn talk(&mut self) -> End {
        let app = Arc::clone(&self.app);
        let silence = app.config.streams.heartbeat;
        let mut pings = interval_at(Instant::now() + silence, silence);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let busy = self.tally.busy;
            tokio::select! {
                biased;
                () = app.lifecycle.stopped() => return End::restart(),
                // A response that is being made may end.
                () = app.lifecycle.leaving(), if !busy => return End::restart(),
                _ = pings.tick() => if let Some(end) = self.look_after() {
                    return end;
                },
                step = poll_fn(|cx| self.poll(cx)) => if let Some(end) = step {
                    return end;
                },
            }
        }
    }

    /// Carries messages both ways for as long as there are any. Ready with `None` when a response
    /// has begun or ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let was_busy = self.tally.busy;
        loop {
            let Self {
                client,
                upstream,
                tally,
                ..
            } = self;
            let up = carry(client, upstream, cx, |message| tally.said(message));
            let down = carry(upstream, client, cx, |message| tally.heard(message));
            let carried = match (up, down) {
                (Ok(up), Ok(down)) => up | down,
                (Err(Broken::From(error)), _) | (_, Err(Broken::To(error))) => {
                    return Poll::Ready(Some(End::client(&error)));
                }
                (Err(Broken::To(error)), _) | (_, Err(Broken::From(error))) => {
                    return Poll::Ready(Some(End::upstream(&error)));
                }
            };
            if let Some(end) = self.goodbye() {
                return Poll::Ready(Some(end));
            }
            if was_busy != self.tally.busy {
                return Poll::Ready(None);
            }
            if !carried {
                break;
            }
        }
        // Written together, once there is nothing more to write.
        if self.client.poll_flush(cx).is_err() {
            return Poll::Ready(Some(End::client(&Error::ConnectionClosed)));
        }
        if self.upstream.poll_flush(cx).is_err() {
            return Poll::Ready(Some(End::upstream(&Error::ConnectionClosed)));
        }
        Poll::Pending
    }

    /// A close that is to be passed on ends the session with the same words.
    fn goodbye(&mut self) -> Option<End> {
        if let Some((Message::Close(frame), _)) = &mut self.upstream.next {
            let upstream = frame.take();
            self.client.over = true;
            return Some(End {
                outcome: "client_closed",
                client: None,
                upstream,
            });
        }
        if let Some((Message::Close(frame), _)) = &mut self.client.next {
            let client = frame.take();
            self.upstream.over = true;
            return Some(End {
                outcome: "upstream_closed",
                client,
                upstream: None,
            });
        }
        None
    }

    /// Pings both sides, and gives up on one that is silent or takes nothing.
    fn look_after(&mut self) -> Option<End> {
        let (silence, stall) = (
            self.app.config.streams.heartbeat * 3,
            self.app.config.streams.write_stall,
        );
        let stuck = |next: &Option<(Message, Instant)>| {
            next.as_ref()
                .is_some_and(|(_, since)| since.elapsed() > stall)
        };
        // Who is not listened to cannot be heard.
        if stuck(&self.client.next)
            || self.upstream.next.is_none() && self.client.heard.elapsed() > silence
        {
            return Some(End {
                outcome: "client_silent",
                client: Some(frame(close_code::POLICY, "no answer to a ping")),
                upstream: Some(frame(close_code::AWAY, "the client is gone")),
            });
        }
        if stuck(&self.upstream.next)
            || self.client.next.is_none() && self.upstream.heard.elapsed() > silence
        {
            return Some(End {
                outcome: "upstream_silent",
                client: Some(frame(close_code::ERROR, "the upstream is silent")),
                upstream: Some(frame(close_code::POLICY, "no answer to a ping")),
            });
        }
        self.client.ping();
        self.upstream.ping();
        None
    }
}

/// Which side broke.
enum Broken {
    From(Error),
    To(Error),
}

/// Takes a message from one side if the other took the last one, and gives it. True if anything moved.
fn carry(
    from: &mut Side<impl Peer>,
    to: &mut Side<impl Peer>,
    cx: &mut Context<'_>,
    mut count: impl FnMut(&Message),
) -> Result<bool, Broken> {
    let mut moved = false;
    if to.next.is_none() && !from.over {
        match from.peer.poll_hear(cx) {
            Poll::Pending => {}
            Poll::Ready(None) => return Err(Broken::From(Error::ConnectionClosed)),
            Poll::Ready(Some(Err(error))) => return Err(Broken::From(error)),
            Poll::Ready(Some(Ok(message))) => {
                from.heard = Instant::now();
                // Its answer to a ping is written with the next flush.
                from.unflushed |= message.is_ping();
                count(&message);
                to.next = Some((message, from.heard));
                moved = true;
            }
        }
    }
    if to
        .next
        .as_ref()
        .is_some_and(|(message, _)| !message.is_close())
    {
        match to.peer.poll_ready(cx) {
            Poll::Pending => {}
            Poll::Ready(Err(error)) => return Err(Broken::To(error)),
            Poll::Ready(Ok(())) => {
                if let Some((message, _)) = to.next.take() {
                    to.peer.say(message).map_err(Broken::To)?;
                    to.unflushed = true;
                    moved = true;
                }
            }
        }
    }
    Ok(moved)
}

impl<P: Peer> Side<P> {
    fn new(peer: P) -> Self {
        Self {
            peer,
            next: None,
            unflushed: false,
            heard: Instant::now(),
            over: false,
        }
    }

    fn ping(&mut self) {
        if self.next.is_none() {
            self.next = Some((Message::Ping(bytes::Bytes::new()), Instant::now()));
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.unflushed
            && let Poll::Ready(flushed) = self.peer.poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(())
    }

    /// Says goodbye, unless it has done so first, and waits until it is gone.
    async fn leave(&mut self, frame: Option<CloseFrame>) {
        if !self.over {
            let ready = poll_fn(|cx| self.peer.poll_ready(cx)).await;
            if ready.is_err() || self.peer.say(Message::Close(frame)).is_err() {
                return;
            }
        }
        let _ = poll_fn(|cx| self.peer.poll_flush(cx)).await;
        while let Some(Ok(_)) = poll_fn(|cx| self.peer.poll_hear(cx)).await {}
    }
}
