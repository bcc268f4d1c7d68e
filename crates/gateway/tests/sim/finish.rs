//! The end of a schedule: nothing goes wrong any more, and everything must come out right.

use std::sync::atomic::Ordering;

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
        if self.processes.is_empty() {
            self.start(&mut Random::new(1));
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
        let unended = |process: &Process| !check::unended(&self.host, process).is_empty();
        self.reading().next().is_some() || self.processes.last().is_some_and(unended)
    }

    fn reading(&self) -> impl Iterator<Item = &Seat> {
        let board = &self.host.board;
        self.seats
            .iter()
            .filter(|seat| board.fate(seat.reader) == Fate::Reading)
    }

    /// Every stream has ended, and every reader knows.
    fn nobody_waits(&self) {
        let Some(process) = self.processes.last() else {
            return;
        };
        for id in check::unended(&self.host, process) {
            let number = self.host.book.get(id).number;
            self.host.board.violate(format!("s{number} does not end"));
        }
        for seat in self.reading() {
            let what = format!("r{} at p{} waits for ever", seat.reader, seat.process);
            self.host.board.violate(what);
        }
    }
}
