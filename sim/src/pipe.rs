//! A connection: two lanes, one for each direction, and who stands at their ends.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::{LaneId, Link, Millis, Net};
use crate::random::Random;

/// What travels at once.
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    /// The writer has no more to say.
    Fin,
}

/// One direction of a connection.
#[expect(
    clippy::struct_excessive_bools,
    reason = "they come in any combination"
)]
pub(crate) struct Lane {
    pub(crate) link: Arc<Link>,
    /// Its own, so that what other lanes do at the same moment does not matter.
    pub(crate) random: Random,
    /// The other direction.
    pub(crate) back: LaneId,
    flying: VecDeque<Piece>,
    /// When the newest piece in flight arrives.
    pub(crate) last_arrival: Millis,
    arrived: VecDeque<u8>,
    /// Bytes under way or unread.
    used: usize,
    fin_sent: bool,
    fin_arrived: bool,
    /// Nobody reads any more.
    deserted: bool,
    reset: bool,
    reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
}

/// One end of a connection. Dropping it closes it, in order if all was read.
pub(crate) struct Endpoint {
    net: Net,
    rx: LaneId,
    tx: LaneId,
}

impl Piece {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Fin => 0,
        }
    }
}

impl Lane {
    fn new(link: &Arc<Link>, back: LaneId, random: Random) -> Self {
        Self {
            link: Arc::clone(link),
            random,
            back,
            flying: VecDeque::new(),
            last_arrival: 0,
            arrived: VecDeque::new(),
            used: 0,
            fin_sent: false,
            fin_arrived: false,
            deserted: false,
            reset: false,
            reader: None,
            writer: None,
        }
    }

    pub(crate) fn latency(&mut self) -> Millis {
        let (least, most) = self.link.latency;
        self.random.between(least, most)
    }

    pub(crate) fn fly(&mut self, at: Millis, piece: Piece) {
        self.used += piece.len();
        self.last_arrival = at;
        self.flying.push_back(piece);
    }

    /// The oldest piece in flight.
    pub(crate) fn land(&mut self) -> Option<Piece> {
        self.flying.pop_front()
    }

    pub(crate) fn take_in(&mut self, piece: Piece) -> Option<Waker> {
        match piece {
            Piece::Bytes(bytes) => self.arrived.extend(bytes),
            Piece::Fin => self.fin_arrived = true,
        }
        self.reader.take()
    }

    /// What was not read is lost.
    pub(crate) fn reset(&mut self) -> Option<Waker> {
        self.reset = true;
        self.arrived.clear();
        self.reader.take()
    }
}

impl Endpoint {
    /// Both ends of a new connection.
    pub(crate) fn pair(net: &Net, link: &Arc<Link>) -> (Self, Self) {
        let mut state = net.lock();
        let (one, other) = (state.lanes.len(), state.lanes.len() + 1);
        for back in [other, one] {
            let random = state.random.fork();
            state.lanes.push(Lane::new(link, back, random));
        }
        let end = |rx, tx| Self {
            net: net.clone(),
            rx,
            tx,
        };
        (end(one, other), end(other, one))
    }

    /// Breaks the connection: the other side is told so.
    pub(crate) fn reset(self) {
        let mut state = self.net.lock();
        state.lanes[self.tx].fin_sent = true;
        state.lanes[self.rx].deserted = true;
        self.net.send_reset(&mut state, self.tx);
    }

    /// Sends no more, and reads on.
    fn finish(&self) {
        let mut state = self.net.lock();
        let lane = &mut state.lanes[self.tx];
        if !std::mem::replace(&mut lane.fin_sent, true) {
            self.net.send(&mut state, self.tx, Piece::Fin);
        }
    }
}

impl AsyncRead for Endpoint {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.net.lock();
        let lane = &mut state.lanes[self.rx];
        if lane.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let mut most = buffer.remaining().min(lane.arrived.len());
        if most == 0 {
            if lane.fin_arrived && lane.arrived.is_empty() || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            lane.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // A socket may bring any part of what is there.
        if lane.random.chance(25) {
            most = 1 + lane.random.below(most);
        }
        let bytes: Vec<u8> = lane.arrived.drain(..most).collect();
        buffer.put_slice(&bytes);
        lane.used -= most;
        self.net.room(lane.writer.take());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endpoint {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.net.lock();
        let state = &mut *state;
        if state.lanes[self.rx].reset || state.lanes[self.tx].fin_sent {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let lane = &mut state.lanes[self.tx];
        let room = lane.link.window.saturating_sub(lane.used);
        if room == 0 {
            lane.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = &bytes[..bytes.len().min(room)];
        if lane.deserted {
            // It arrives nowhere, and the answer says so.
            let back = lane.back;
            self.net.send_reset(state, back);
            return Poll::Ready(Ok(taken.len()));
        }
        let mut rest = taken;
        while !rest.is_empty() {
            let random = &mut state.lanes[self.tx].random;
            let next = if rest.len() > 1 && random.chance(20) {
                1 + random.below(rest.len() - 1)
            } else {
                rest.len()
            };
            let (now, later) = rest.split_at(next);
            self.net.send(state, self.tx, Piece::Bytes(now.to_vec()));
            rest = later;
        }
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let mut state = self.net.lock();
        let lane = &mut state.lanes[self.rx];
        lane.deserted = true;
        let writer = lane.writer.take();
        let unread = lane.used > 0;
        if unread && !state.lanes[self.tx].fin_sent {
            state.lanes[self.tx].fin_sent = true;
            self.net.send_reset(&mut state, self.tx);
        }
        drop(state);
        self.finish();
        self.net.room(writer);
    }
}
