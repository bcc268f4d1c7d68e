//! Runs a schedule: one host with its disk, its processes, the provider and the clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use everstream_core::error::ErrorCode;
use everstream_core::event::Event;
use everstream_core::id::StreamId;
use everstream_core::policy::disconnect::OnDisconnect;
use everstream_core::record::{Claim, Digest, Record};
use everstream_store::StreamLog;
use everstream_store::config::Sync;
use everstream_testkit::disk::{FaultyDisk, Loss};

use super::board::Board;
use super::check;
use super::disk::{Harm, Moment, ProcessDisk};
use super::log::Book;
use super::process::{Host, Process, Seat};
use super::provider::Provider;
use super::random::Random;
use super::settings::{Kind, Schedule, Step};

/// The start of virtual time: some wall time.
const EPOCH: u64 = 1_800_000_000_000;
const MOMENTS: [Moment; 3] = [Moment::Before, Moment::Middle, Moment::After];
/// Processes at a time: one, and one that drains.
const PROCESSES: usize = 2;

pub(crate) struct World {
    pub(super) host: Host,
    pub(super) processes: Vec<Process>,
    pub(super) seats: Vec<Seat>,
    pub(super) started: u32,
}

impl World {
    /// Runs a schedule to its end, or to the first thing that must not be, and gives the board.
    pub(crate) fn run(schedule: &Schedule) -> Arc<Board> {
        let mut world = Self {
            host: Host {
                settings: schedule.settings,
                disk: FaultyDisk::default(),
                provider: Provider::default(),
                book: Arc::new(Book::default()),
                board: Arc::new(Board::default()),
                now: Arc::new(AtomicU64::new(EPOCH)),
                hurry: Arc::new(AtomicBool::new(false)),
            },
            processes: Vec::new(),
            seats: Vec::new(),
            started: 0,
        };
        let board = Arc::clone(&world.host.board);
        for step in &schedule.steps {
            world.step(*step);
            if board.violation().is_some() {
                return board;
            }
        }
        world.finish();
        board
    }

    pub(super) fn note(&self, what: &str) {
        self.host.board.note(what);
    }

    fn step(&mut self, step: Step) {
        let mut random = Random::new(step.seed);
        self.note(&format!("{:?}", step.kind));
        match step.kind {
            Kind::Request => self.request(&mut random),
            Kind::Speak => self.speak(&mut random),
            Kind::Pass => {
                let millis = [1, 20, 500, 3_000, 12_000][random.below(5)];
                self.pass(Duration::from_millis(millis));
            }
            Kind::Join => self.join(&mut random),
            Kind::Leave => {
                if !self.seats.is_empty() {
                    self.seats.remove(random.below(self.seats.len())).leave();
                }
            }
            Kind::Cut => {
                self.host.provider.cut(random.below(64));
            }
            Kind::Refuse => self.host.provider.refuse(1 + random.below(2)),
            Kind::Start => self.start(&mut random),
            Kind::PowerLoss => self.power_loss(&mut random),
            Kind::Stop => self.stop(),
            Kind::Stale => self.stale(&mut random),
            _ => self.step_of_a_process(step.kind, &mut random),
        }
        self.settle();
    }

    fn step_of_a_process(&mut self, kind: Kind, random: &mut Random) {
        if self.processes.is_empty() {
            return;
        }
        let at = random.below(self.processes.len());
        let process = &mut self.processes[at];
        self.host.board.note(&format!("... of p{}", process.number));
        match kind {
            Kind::Cancel => stop_one(&self.host, process, random),
            Kind::DrainTimeout if process.draining => stop_all(&self.host, process),
            Kind::Kill => self.processes.remove(at).kill(),
            Kind::KillAt => {
                let moment = MOMENTS[random.below(3)];
                self.host
                    .board
                    .note(&process.disk.harm(Harm::Kill(1 + random.next() % 8, moment)));
            }
            Kind::Fail => {
                let kind = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::Other];
                let times = [1, 2, 3, 40][random.below(4)];
                let harm = Harm::Fail(1 + random.next() % 5, times, kind[random.below(2)]);
                self.host.board.note(&process.disk.harm(harm));
            }
            Kind::Heal => self.host.board.note(&process.disk.harm(Harm::None)),
            Kind::SlowDown if self.host.settings.slow_device => process.disk.gate().slow_down(),
            Kind::SpeedUp => process.disk.gate().speed_up(),
            Kind::Freeze => process.frozen = process.frozen.or(Some(Duration::ZERO)),
            Kind::Thaw => thaw(process),
            Kind::Retain => {
                let _ = process.block_on(process.log.retain());
            }
            _ => {}
        }
    }

    fn request(&mut self, random: &mut Random) {
        if self.fresh().is_none() {
            self.start(&mut Random::new(random.next()));
        }
        let Some(at) = self.fresh() else { return };
        let number = self.host.provider.script(random);
        let linger = Duration::from_secs(1 + random.next() % 20);
        let on_disconnect = random.weighted(&[
            (5, OnDisconnect::Continue),
            (1, OnDisconnect::Cancel),
            (4, OnDisconnect::Linger(linger)),
        ]);
        let key = u8::try_from(random.below(3)).unwrap_or(0);
        let claim = random.chance(25).then_some(Claim {
            key: Digest([key; 32]),
            fingerprint: Digest([key; 32]),
        });
        if random.chance(8) {
            // Where nothing was sent yet the next process runs it.
            let harm = Harm::Kill(2 + random.next() % 3, MOMENTS[random.below(3)]);
            self.note(&self.processes[at].disk.harm(harm));
        }
        let pace = Random::new(random.next());
        let seat = self.processes[at].request(number, on_disconnect, claim, pace);
        self.seats.extend(seat);
    }

    /// The process that takes new requests.
    pub(super) fn fresh(&self) -> Option<usize> {
        let takes = |process: &Process| !process.draining && process.frozen.is_none();
        self.processes.iter().position(takes)
    }

    fn speak(&mut self, random: &mut Random) {
        for _ in 0..=random.below(3) {
            let bytes = [
                1 + random.below(30),
                1 + random.below(600),
                5_000,
                usize::MAX / 2,
            ];
            let bytes = bytes[random.below(4)];
            let which = random.below(64);
            let spoke = self.host.provider.speak(which, bytes);
            if let Some(number) = spoke {
                self.note(&format!("... {} bytes of s{number}", bytes.min(1 << 20)));
            }
            if random.chance(60) {
                self.settle();
            }
        }
    }

    fn join(&mut self, random: &mut Random) {
        let known = |id: &StreamId| !self.host.book.get(*id).leases.is_empty();
        let streams: Vec<_> = self.host.book.streams().into_iter().filter(known).collect();
        let (Some(id), Some(process)) = (random.pick(&streams), {
            let at = random.below(PROCESSES);
            self.processes.get(at).or(self.processes.first())
        }) else {
            return;
        };
        let number = self.host.book.get(*id).number;
        let most = self.host.board.seen(number).frames.len();
        let seq = [0, random.below(most + 1), most, most][random.below(4)];
        let seq = everstream_core::id::Seq::new(seq as u64);
        let seat = process.join(*id, seq, Random::new(random.next()));
        self.host
            .board
            .note(&format!("... r{} s{number} after {seq}", seat.reader));
        self.seats.push(seat);
    }

    pub(super) fn start(&mut self, random: &mut Random) {
        if self.processes.len() >= PROCESSES {
            return;
        }
        self.started += 1;
        let number = self.started;
        let disk = ProcessDisk::new(self.host.disk.clone());
        let harmed = random.chance(15);
        if harmed {
            self.note(&disk.harm(Harm::Kill(1 + random.next() % 12, Moment::Middle)));
        }
        match Process::start(&self.host, number, disk.clone()) {
            Ok(process) => {
                check::holds_what_was_seen(&self.host, &process);
                process.recover();
                self.note(&format!("... p{number}"));
                for old in &mut self.processes {
                    drain(&self.host, old);
                }
                self.processes.push(process);
            }
            Err(_) if disk.is_dead() => self.note(&format!("... p{number} died at once")),
            Err(error) => self
                .host
                .board
                .violate(format!("p{number} cannot start: {error}")),
        }
    }

    pub(super) fn stop(&mut self) {
        let done = |process: &Process| process.draining && process.generator.tasks.is_empty();
        let Some(at) = self.processes.iter().position(done) else {
            return;
        };
        let process = self.processes.remove(at);
        let number = process.number;
        self.note(&format!("... p{number}"));
        let _ = process.block_on(process.log.close());
    }

    fn power_loss(&mut self, random: &mut Random) {
        let power = self.host.settings.sync == Sync::Always && random.chance(80);
        for process in self.processes.drain(..) {
            process.kill();
        }
        if power {
            self.note("... of the host");
            self.host.disk.restart(Loss::Power(random.next()));
        }
    }

    /// An append by a process that never had the lease, or under an old one.
    fn stale(&mut self, random: &mut Random) {
        let mut streams = self.host.book.streams();
        if random.chance(70) {
            // Rather one that was taken over and still runs.
            let book = &self.host.book;
            streams.sort_by_key(|id| {
                let account = book.get(*id);
                (account.ending.is_none(), account.leases.len())
            });
            streams.drain(..streams.len().saturating_sub(1));
        }
        let Some(id) = random.pick(&streams) else {
            return;
        };
        let account = self.host.book.get(*id);
        let Some((holder, newest)) = account.leases.last() else {
            return;
        };
        let Some(process) = random.pick(&self.processes) else {
            return;
        };
        let leases: Vec<_> = account.leases.iter().map(|(_, lease)| *lease).collect();
        let mut lease = *random.pick(&leases).unwrap_or(newest);
        if *holder == process.number && lease.epoch == newest.epoch {
            return;
        }
        let Ok(stat) = process.block_on(process.log.info(*id)) else {
            return;
        };
        lease.tail = stat.tail;
        let record = Record::Event(Event {
            seq: lease.tail.seq.next(),
            time: self.host.now(),
            name: Bytes::new(),
            data: Bytes::from_static(b"stale"),
        });
        let appended = process
            .log
            .append_stale(*id, lease, std::slice::from_ref(&record));
        if process.block_on(appended).is_ok() {
            let (number, process) = (account.number, process.number);
            let what = format!("p{process} appended to s{number}, which p{holder} has");
            self.host.board.violate(what);
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(0);
        self.host.now.fetch_add(millis, Ordering::Relaxed);
        for process in &mut self.processes {
            match &mut process.frozen {
                Some(behind) => *behind += time,
                None => process.pass(time),
            }
        }
    }

    /// Lets everything run that can, and buries who died meanwhile.
    pub(super) fn settle(&mut self) {
        for process in self
            .processes
            .iter()
            .filter(|process| process.frozen.is_none())
        {
            process.run();
        }
        let (dead, alive) = self
            .processes
            .drain(..)
            .partition(|process| process.disk.is_dead());
        self.processes = alive;
        let dead: Vec<Process> = dead;
        for process in dead {
            self.note(&format!("p{} is dead", process.number));
            process.kill();
        }
        let alive = |seat: &Seat| self.processes.iter().any(|p| p.number == seat.process);
        self.seats.retain(alive);
        self.host.board.check_memory();
        if let Some(trouble) = self.host.book.take_trouble() {
            self.host.board.violate(trouble);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for process in self.processes.drain(..) {
            process.kill();
        }
    }
}

/// As `App::drain` does.
fn drain(host: &Host, process: &mut Process) {
    process.draining = true;
    for live in lives(host, process) {
        live.keep();
    }
    process.generator.tasks.close();
}

fn stop_one(host: &Host, process: &Process, random: &mut Random) {
    if let Some(live) = random.pick(&lives(host, process)) {
        live.stop(ErrorCode::Cancelled);
    }
}

/// As `App::drained` does when the time is over.
fn stop_all(host: &Host, process: &Process) {
    for live in lives(host, process) {
        live.stop(ErrorCode::DrainTimeout);
    }
}

fn lives(host: &Host, process: &Process) -> Vec<Arc<everstream::generate::live::Live>> {
    let mut lives = process.generator.registry.all();
    lives.sort_by_key(|live| host.book.get(live.id()).number);
    lives
}

pub(super) fn thaw(process: &mut Process) {
    if let Some(behind) = process.frozen.take() {
        process.pass(behind);
    }
}
