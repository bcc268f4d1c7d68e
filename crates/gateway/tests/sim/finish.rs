//! The end of a schedule: nothing goes wrong any more, and everything must come out right.

use std::sync::atomic::Ordering;

use everstream_core::id::StreamId;

use super::board::Fate;
use super::check;
use super::disk::{Harm, ProcessDisk};
use super::process::{Process, RECOVER_EVERY, Seat};
use super::random::Random;
use super::world::{World, thaw};

impl World {
    /// Nothing goes wrong any more: everything ends and everybody is told, at once with those that
    /// live, and at the latest with the next start.
    pub(super) fn finish(&mut self) {
        self.note("the disk is sound from here on");
        self.host.hurry.store(true, Ordering::Relaxed);
        self.host.provider.refuse(0);
        for process in &mut self.processes {
            process.disk.harm(Harm::None);
            process.disk.gate().speed_up();
            thaw(process);
        }
        // Who drains recovers nobody; a supervisor starts another one.
        if self.fresh().is_none() {
            self.start(&mut Random::new(1));
        }
        self.settle();
        self.wait();
        self.nobody_waits();
        // Then who drains is through, and ends.
        for _ in 0..self.processes.len() {
            self.stop();
        }
        self.settle();
        self.wait();
        self.nobody_waits();
        if self.host.board.violation().is_some() {
            return;
        }
        for process in self.processes.drain(..) {
            process.kill();
        }
        self.started += 1;
        let disk = ProcessDisk::new(self.host.disk.clone());
        match Process::start(&self.host, self.started, disk) {
            Ok(process) => {
                process.recover();
                self.processes.push(process);
            }
            Err(error) => self.host.board.violate(format!("the last start: {error}")),
        }
        self.settle();
        self.wait();
        self.nobody_waits();
        if let Some(process) = self.processes.first() {
            check::whole(&self.host, process);
        }
    }

    /// Until nothing is left to wait for, but not for ever.
    fn wait(&mut self) {
        let until = self.host.now().plus(check::LONG);
        while self.host.now() < until && self.is_awaited() {
            let mut rounds = 0;
            while self.host.settings.answers && self.host.provider.speaking() > 0 && rounds < 100 {
                self.host.provider.speak(0, usize::MAX / 2);
                self.settle();
                rounds += 1;
            }
            self.pass(RECOVER_EVERY);
            self.settle();
        }
    }

    fn is_awaited(&self) -> bool {
        let (unended, reading) = self.awaited();
        !(unended.is_empty() && reading.is_empty())
    }

    /// The streams that must end, and the readers that must get to an end, as things are. What a
    /// dead process left is not among them while one drains: that one may have adopted it, and
    /// leaves it to its successor.
    fn awaited(&self) -> (Vec<StreamId>, Vec<&Seat>) {
        let Some(newest) = self.processes.last() else {
            return Default::default();
        };
        let drains = self.processes.iter().any(|process| process.draining);
        let is_left = |id: &StreamId| {
            let account = self.host.book.get(*id);
            let holder = account.leases.last().map(|(process, _)| *process);
            let lives = |process: &Process| Some(process.number) == holder;
            drains && !self.processes.iter().any(lives)
        };
        let unended = check::unended(&self.host, newest);
        let (left, unended): (Vec<_>, _) = unended.into_iter().partition(is_left);
        let reads = |seat: &&Seat| self.host.board.fate(seat.reader) == Fate::Reading;
        let reading = self.seats.iter().filter(|_| left.is_empty()).filter(reads);
        (unended, reading.collect())
    }

    /// Every stream has ended, and every reader knows.
    fn nobody_waits(&self) {
        let (unended, reading) = self.awaited();
        for id in unended {
            let number = self.host.book.get(id).number;
            self.host.board.violate(format!("s{number} does not end"));
        }
        for seat in reading {
            let what = format!("r{} at p{} waits for ever", seat.reader, seat.process);
            self.host.board.violate(what);
        }
    }
}
