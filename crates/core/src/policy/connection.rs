//! What is known of the way to an upstream: whether anybody is connected to it, and whether it still
//! says anything.

use crate::id::UnixMillis;

/// The state of the way to an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// Nobody is connected, and nobody tries.
    #[default]
    Disconnected,
    /// The first connection is being made.
    Connecting,
    /// There is a connection.
    Connected,
    /// There are answers under way, and none of them has had as much as a heartbeat for too long.
    HeartbeatLost,
}

impl ConnectionState {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Disconnected,
        Self::Connecting,
        Self::Connected,
        Self::HeartbeatLost,
    ];

    /// The name, in the API and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::HeartbeatLost => "heartbeat_lost",
        }
    }
}

/// What happens to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionEvent {
    /// It is being made.
    Dialling,
    /// It could not be made.
    DialFailed,
    /// It was made.
    Dialled,
    /// It carries a request now, and was idle.
    Taken,
    /// It carries none any more, and is kept.
    Returned,
    /// It is closed while it carries a request.
    ClosedInUse,
    /// It is closed while it is idle.
    ClosedIdle,
    /// It carries a request, and nothing has come for too long.
    FellSilent,
    /// Something came after that.
    SpokeAgain,
}

/// The connections to one upstream, counted. Whoever owns one reports its events; a silent one that
/// is returned or closed reports [`ConnectionEvent::SpokeAgain`] first.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    dialling: u32,
    in_use: u32,
    silent: u32,
    idle: u32,
    state: ConnectionState,
    since: UnixMillis,
}

/// A change of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The state before.
    pub from: ConnectionState,
    /// The state now.
    pub to: ConnectionState,
}

impl Connections {
    /// Takes an event, and tells whether the state has changed by it.
    pub fn take(&mut self, now: UnixMillis, event: ConnectionEvent) -> Option<Changed> {
        use ConnectionEvent as Event;
        match event {
            Event::Dialling => self.dialling += 1,
            Event::DialFailed => take(&mut self.dialling),
            Event::Dialled => {
                take(&mut self.dialling);
                self.in_use += 1;
            }
            Event::Taken => {
                take(&mut self.idle);
                self.in_use += 1;
            }
            Event::Returned => {
                take(&mut self.in_use);
                self.idle += 1;
            }
            Event::ClosedInUse => take(&mut self.in_use),
            Event::ClosedIdle => take(&mut self.idle),
            Event::FellSilent => self.silent += 1,
            Event::SpokeAgain => take(&mut self.silent),
        }
        let (from, to) = (self.state, self.judge());
        if from == to {
            return None;
        }
        (self.state, self.since) = (to, now);
        Some(Changed { from, to })
    }

    /// The state, and since when it holds.
    pub const fn state(&self) -> (ConnectionState, UnixMillis) {
        (self.state, self.since)
    }

    /// How many carry a request, and how many are idle.
    pub const fn counts(&self) -> (u32, u32) {
        (self.in_use, self.idle)
    }

    fn judge(&self) -> ConnectionState {
        if self.in_use > 0 && self.silent >= self.in_use {
            ConnectionState::HeartbeatLost
        } else if self.in_use + self.idle > 0 {
            ConnectionState::Connected
        } else if self.dialling > 0 {
            ConnectionState::Connecting
        } else {
            ConnectionState::Disconnected
        }
    }
}

fn take(count: &mut u32) {
    *count = count.saturating_sub(1);
}

#[cfg(test)]
mod tests {
    use super::ConnectionEvent::*;
    use super::*;
    use proptest::prelude::*;

    fn states(events: &[ConnectionEvent]) -> Vec<&'static str> {
        let mut connections = Connections::default();
        let mut states = vec![connections.state().0.as_str()];
        for (at, event) in (0..).zip(events) {
            let changed = connections.take(UnixMillis(at), *event);
            states.extend(changed.map(|changed| changed.to.as_str()));
        }
        states
    }

    #[test]
    fn a_request_walks_through_the_states() {
        assert_eq!(
            states(&[
                Dialling, Dialled, FellSilent, SpokeAgain, Returned, ClosedIdle
            ]),
            [
                "disconnected",
                "connecting",
                "connected",
                "heartbeat_lost",
                "connected",
                "disconnected"
            ]
        );
        assert_eq!(
            states(&[Dialling, DialFailed]),
            ["disconnected", "connecting", "disconnected"]
        );
    }

    #[test]
    fn one_that_speaks_is_enough() {
        let two = [Dialling, Dialling, Dialled, Dialled, FellSilent];
        assert_eq!(states(&two).last(), Some(&"connected"));
        let none = [&two[..], &[FellSilent]].concat();
        assert_eq!(states(&none).last(), Some(&"heartbeat_lost"));
        let idle = [&none[..], &[SpokeAgain, Returned]].concat();
        assert_eq!(states(&idle).last(), Some(&"heartbeat_lost"));
        let over = [&idle[..], &[SpokeAgain, ClosedInUse]].concat();
        assert_eq!(states(&over).last(), Some(&"connected"));
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum One {
        Dialling,
        InUse { silent: bool },
        Idle,
    }

    proptest! {
        /// Against a list of all connections.
        #[test]
        fn it_agrees_with_a_list(steps in proptest::collection::vec((any::<usize>(), 0..9u8), 0..200)) {
            let mut connections = Connections::default();
            let mut list: Vec<One> = Vec::new();
            for (at, (which, what)) in (0..).zip(steps) {
                let now = UnixMillis(at);
                let which = which % list.len().max(1);
                match (list.get(which).copied(), what) {
                    (_, 0) => {
                        list.push(One::Dialling);
                        connections.take(now, Dialling);
                    }
                    (Some(One::Dialling), 1) => {
                        list.remove(which);
                        connections.take(now, DialFailed);
                    }
                    (Some(One::Dialling), _) => {
                        list[which] = One::InUse { silent: false };
                        connections.take(now, Dialled);
                    }
                    (Some(One::Idle), 2..5) => {
                        list[which] = One::InUse { silent: false };
                        connections.take(now, Taken);
                    }
                    (Some(One::Idle), 5) => {
                        list.remove(which);
                        connections.take(now, ClosedIdle);
                    }
                    (Some(One::InUse { silent }), 2..9) => {
                        if silent {
                            connections.take(now, SpokeAgain);
                        }
                        match what {
                            2 if !silent => {
                                list[which] = One::InUse { silent: true };
                                connections.take(now, FellSilent);
                            }
                            2 | 3 => list[which] = One::InUse { silent: false },
                            4..7 => {
                                list[which] = One::Idle;
                                connections.take(now, Returned);
                            }
                            _ => {
                                list.remove(which);
                                connections.take(now, ClosedInUse);
                            }
                        }
                    }
                    _ => {}
                }
                let in_use = |one: &&One| matches!(one, One::InUse { .. });
                let used: Vec<_> = list.iter().filter(in_use).collect();
                let expected = if !used.is_empty() && used.iter().all(|one| **one == One::InUse { silent: true }) {
                    ConnectionState::HeartbeatLost
                } else if list.iter().any(|one| *one != One::Dialling) {
                    ConnectionState::Connected
                } else if list.is_empty() {
                    ConnectionState::Disconnected
                } else {
                    ConnectionState::Connecting
                };
                prop_assert_eq!(connections.state().0, expected);
            }
        }
    }
}
