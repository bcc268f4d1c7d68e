//! Runs a schedule to its end, or to the first thing that must not be.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use everstream_testkit::disk::FaultyDisk;

use crate::board::Board;
use crate::check;
use crate::client::{Client, Present};
use crate::net::{Link, Millis, Net};
use crate::process::{Host, Process};
use crate::provider;
use crate::random::Random;
use crate::schedule::{Schedule, Trouble, TroubleKind};
use crate::tasks::Tasks;
use crate::trace::Trace;

/// Steps after which a schedule surely goes in circles.
const STEPS: u64 = 3_000_000;
/// How long a process that has nothing to do may take to leave.
const FAREWELL: Millis = 20_000;

/// What a schedule came to.
pub(crate) struct Outcome {
    pub(crate) violation: Option<String>,
    pub(crate) hash: u64,
    pub(crate) counts: std::collections::BTreeMap<&'static str, u64>,
    /// Virtual time.
    pub(crate) lasted: Millis,
}

pub(crate) struct World {
    pub(crate) net: Net,
    pub(crate) tasks: Tasks,
    pub(crate) board: Board,
    pub(crate) process: Option<Process>,
    host: Host,
    orders: Orders,
    steps: u64,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Start,
    Kill,
    KillAt(u64),
    Leave,
}

type Orders = Rc<RefCell<VecDeque<Order>>>;

/// Runs the schedule of a seed; `aloud` prints what happens.
pub(crate) fn run(seed: u64, aloud: bool) -> Outcome {
    let schedule = Schedule::draw(seed);
    if aloud {
        println!("{schedule:#?}\n{}", schedule.config());
    }
    let [network, providers, gateway] = schedule.seeds;
    everstream::random::replay(gateway);
    let ports = 1 + schedule.upstreams.len();
    let net = Net::new(Random::new(network), ports, Trace::new(aloud));
    let board = Board::new(&net);
    let tasks = Tasks::default();
    let host = Host {
        net: net.clone(),
        disk: FaultyDisk::default(),
        config: schedule.config(),
        segment_bytes: schedule.segment_bytes,
        links: schedule
            .upstreams
            .iter()
            .map(|u| Arc::clone(&u.link))
            .collect(),
    };
    let mut world = World {
        net,
        tasks,
        board,
        process: None,
        host,
        orders: Orders::default(),
        steps: 0,
    };
    world.play(schedule, Random::new(providers));
    world.tasks.end();
    let trace = world.net.lock().trace.sum();
    world.board.seen(|seen| Outcome {
        violation: seen.violation.take(),
        hash: trace,
        counts: std::mem::take(&mut seen.counts),
        lasted: world.net.now(),
    })
}

impl World {
    fn play(&mut self, mut schedule: Schedule, mut random: Random) {
        self.orders.borrow_mut().push_back(Order::Start);
        for (number, plan) in schedule.upstreams.iter().enumerate() {
            let (net, tasks, board) = (&self.net, &self.tasks, &self.board);
            provider::start(number, plan, random.fork(), net, tasks, board);
        }
        let patience = schedule.patience();
        let present = Present::default();
        for (number, plan) in std::mem::take(&mut schedule.clients)
            .into_iter()
            .enumerate()
        {
            let parts = (&self.net, &self.tasks, &self.board);
            Client::new(number, plan, parts, &present).start();
        }
        let over = Rc::new(RefCell::new(false));
        self.trouble(schedule.troubles.clone(), &over);
        let last = 60_000 + 40_000 * schedule.troubles.len() as u64;
        let all_gone = |_: &Self| present.borrow().is_empty() && *over.borrow();
        if !self.until(last + 3 * patience, all_gone) {
            let left = present.borrow().join(", ");
            self.board.violate(format!("still waiting: {left}"));
        }
        let quiet = |world: &Self| {
            let app = world.process.as_ref().and_then(Process::app);
            app.is_some_and(|app| {
                app.generator.registry.is_empty() && app.generator.tasks.is_empty()
            })
        };
        if !self.until(patience, quiet) {
            self.board.violate("some generation never ends");
        }
        if self.is_sound() {
            check::at_rest(self, &schedule, patience);
        }
        if self.is_sound() {
            self.orders.borrow_mut().push_back(Order::Leave);
            if !self.until(FAREWELL, |world| world.process.is_none()) {
                self.board.violate("the gateway does not leave");
            }
        }
        self.process.take().into_iter().for_each(Process::kill);
    }

    fn is_sound(&self) -> bool {
        self.board.seen(|seen| seen.violation.is_none())
    }

    /// What is done to the gateway.
    fn trouble(&self, troubles: Vec<Trouble>, over: &Rc<RefCell<bool>>) {
        let (net, orders) = (self.net.clone(), Rc::clone(&self.orders));
        let over = Rc::clone(over);
        self.tasks.spawn(async move {
            for trouble in troubles {
                net.sleep(trouble.after).await;
                let order = |order| orders.borrow_mut().push_back(order);
                match trouble.kind {
                    TroubleKind::Kill => order(Order::Kill),
                    TroubleKind::KillAt(change) => {
                        order(Order::KillAt(change));
                        net.sleep(10_000).await;
                        order(Order::Kill);
                    }
                    TroubleKind::Leave => {
                        order(Order::Leave);
                        net.sleep(20_000).await;
                        order(Order::Kill);
                    }
                }
                net.sleep(trouble.down).await;
                order(Order::Start);
            }
            *over.borrow_mut() = true;
        });
    }

    /// Goes on until something is so, for so long at most.
    pub(crate) fn until(&mut self, most: Millis, is_so: impl Fn(&Self) -> bool) -> bool {
        let end = self.net.now() + most;
        loop {
            self.settle();
            if is_so(self) {
                return true;
            }
            self.steps += 1;
            if self.steps > STEPS {
                self.board.violate("it goes in circles");
            }
            let now = self.net.now();
            if now >= end || !self.is_sound() {
                return false;
            }
            let next = self.net.next().unwrap_or(end).min(end);
            match &self.process {
                Some(process) => process.run(next),
                None => self.net.pass_to(next),
            }
        }
    }

    /// Does all that can be done now without the gateway.
    fn settle(&mut self) {
        loop {
            self.net.happen();
            self.tasks.run();
            self.bury();
            let order = self.orders.borrow_mut().pop_front();
            if let Some(order) = order {
                self.obey(order);
                continue;
            }
            let now = self.net.now();
            if self.net.next().is_none_or(|next| next > now) {
                return;
            }
        }
    }

    /// Puts away a process that is no more.
    fn bury(&mut self) {
        let gone = |process: &mut Process| process.is_dead() || process.is_over();
        if let Some(process) = self.process.take_if(gone) {
            self.net.note("the gateway is gone");
            self.board.seen(|seen| seen.troubles += 1);
            process.kill();
        }
    }

    fn obey(&mut self, order: Order) {
        self.net.note(format!("order: {order:?}"));
        self.board.seen(|seen| seen.troubles += 1);
        match (order, &self.process) {
            (Order::Start, None) => match Process::start(&self.host) {
                Ok(process) => self.process = Some(process),
                Err(error) => self.board.violate(format!("it does not start: {error}")),
            },
            (Order::Kill, Some(_)) => {
                self.board.count("kills");
                self.process.take().into_iter().for_each(Process::kill);
            }
            (Order::KillAt(change), Some(process)) => process.die_at(change),
            (Order::Leave, Some(process)) => process.leave(),
            _ => {}
        }
    }

    /// The way of those who look at the end: the best there is.
    pub(crate) fn good_link() -> Arc<Link> {
        Arc::new(Link {
            latency: (0, 1),
            window: 64 << 10,
            bandwidth: 1 << 20,
            parted: Vec::new(),
        })
    }
}
