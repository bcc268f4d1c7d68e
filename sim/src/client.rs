//! The clients: they ask, leave, come back, follow each other's streams and cancel them.

mod ask;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::board::{Board, code_of};
use crate::net::{Millis, Net};
use crate::schedule::ClientPlan;
use crate::talk::{News, Talk};
use crate::tasks::Tasks;
use ask::get;

/// How often a client comes back before it leaves it be.
const TRIES: u32 = 60;
/// Between two tries.
const PAUSE: Millis = 2_000;

/// What good links add to the time a client set.
const SLACK: Millis = 2_000;

/// Who is still there, by name.
pub(crate) type Present = Rc<RefCell<Vec<String>>>;

#[derive(Clone)]
pub(crate) struct Client {
    name: String,
    number: usize,
    plan: Rc<ClientPlan>,
    net: Net,
    tasks: Tasks,
    board: Board,
    present: Present,
}

/// What a client knows of the stream that answers it.
#[derive(Clone, Debug, Default)]
struct Place {
    stream: Option<String>,
    seen: u64,
    over: bool,
}

/// A question, as it was put.
#[derive(Clone, Copy)]
struct Asked {
    at: Millis,
    /// How often the gateway had been disturbed.
    troubles: u64,
    /// It is the client's own first word.
    fresh: bool,
}

/// What became of one exchange.
enum Came {
    /// There is nothing more to ask.
    Done,
    /// It is worth another try.
    Again,
}

impl Client {
    pub(crate) fn new(
        number: usize,
        plan: ClientPlan,
        (net, tasks, board): (&Net, &Tasks, &Board),
        present: &Present,
    ) -> Self {
        Self {
            name: format!("c{number}"),
            number,
            plan: Rc::new(plan),
            net: net.clone(),
            tasks: tasks.clone(),
            board: board.clone(),
            present: Rc::clone(present),
        }
    }

    /// Comes, asks, and goes when it has its answer.
    pub(crate) fn start(self) {
        self.present.borrow_mut().push(self.name.clone());
        self.tasks.clone().spawn(async move {
            self.net.sleep(self.plan.starts).await;
            if self.plan.stream {
                self.read_stream().await;
            } else {
                self.read_whole().await;
            }
            self.gone();
        });
    }

    async fn read_stream(&self) {
        let mut place = Place::default();
        let mut leaves = self.plan.leaves.iter();
        let mut next_leave = leaves.next();
        for attempt in 0..TRIES {
            let request = match &place.stream {
                Some(stream) => self.resume(stream, place.seen),
                None => self.ask(attempt),
            };
            let asked = self.asks(place.stream.is_none());
            let talk = Talk::open(&self.net, &self.plan.link, &request).await;
            let Ok(mut talk) = talk else {
                self.net.note(format!("{}: no answer", self.name));
                if !self.may_repeat(&place) {
                    self.board.count("given up by the client");
                    return;
                }
                self.net.sleep(PAUSE).await;
                continue;
            };
            self.learn(&talk, &mut place);
            if talk.head.status != 200 {
                self.hears(asked);
                match self.refused(talk, &place).await {
                    Came::Done => return,
                    Came::Again => self.net.sleep(PAUSE).await,
                }
                continue;
            }
            let leave_after = next_leave.map(|(events, _)| *events);
            let away = self.follow(&mut talk, &mut place, leave_after, asked).await;
            if place.over {
                return;
            }
            let pause = match (away, next_leave) {
                (true, Some((_, away))) => {
                    talk.leave(self.plan.leaves_rudely);
                    next_leave = leaves.next();
                    *away
                }
                _ => PAUSE,
            };
            self.net.sleep(pause).await;
        }
        self.board
            .violate(format!("{} was not answered: {place:?}", self.name));
    }

    /// Reads on; true if it is time to leave.
    async fn follow(
        &self,
        talk: &mut Talk,
        place: &mut Place,
        leave_after: Option<u64>,
        asked: Asked,
    ) -> bool {
        let mut read = 0;
        loop {
            if leave_after.is_some_and(|after| read >= after) {
                self.net.note(format!("{} leaves", self.name));
                return true;
            }
            match talk.next().await {
                News::Event(stream, seq, frame) => {
                    if read == 0 {
                        self.hears(asked);
                    }
                    read += 1;
                    if place.over || seq != place.seen + 1 || place.stream.as_ref() != Some(&stream)
                    {
                        let what = format!("{}: {stream}.{seq} after {place:?}", self.name);
                        self.board.violate(what);
                    }
                    place.seen = seq;
                    self.board.frame(&stream, seq, &frame);
                    if frame.is_terminal() {
                        place.over = true;
                        self.board.ended(&stream, &self.question());
                    }
                }
                News::End => {
                    if !place.over {
                        let what = format!("{}: a proper end after {place:?}", self.name);
                        self.board.violate(what);
                    }
                    return false;
                }
                News::Broken => {
                    self.net.note(format!("{}: cut after {place:?}", self.name));
                    return false;
                }
                News::Wrong(wrong) => {
                    self.board.violate(format!("{}: {wrong}", self.name));
                    place.over = true;
                    return false;
                }
            }
        }
    }

    fn asks(&self, fresh: bool) -> Asked {
        Asked {
            at: self.net.now(),
            troubles: self.board.seen(|seen| seen.troubles),
            fresh,
        }
    }

    /// It hears something: in the time it set, if nothing but the upstreams was in the way.
    fn hears(&self, asked: Asked) {
        let (now, link) = (self.net.now(), &self.plan.link);
        let took = now - asked.at;
        self.net
            .note(format!("{} hears after {took} ms", self.name));
        let Some(timeout) = self.plan.timeout.filter(|_| asked.fresh) else {
            return;
        };
        let troubles = self.board.seen(|seen| seen.troubles);
        let undisturbed = troubles == asked.troubles && self.plan.key.is_none();
        if undisturbed && link.is_good(asked.at..now) && took > 1_000 * timeout + SLACK {
            let what = format!("{} heard after {took} ms of {timeout} s", self.name);
            self.board.violate(what);
        }
    }

    async fn read_whole(&self) {
        let mut place = Place::default();
        for attempt in 0..TRIES {
            let request = self.ask(attempt);
            let talk = Talk::open(&self.net, &self.plan.link, &request).await;
            if let Ok(mut talk) = talk {
                self.learn(&talk, &mut place);
                if talk.head.status != 200 {
                    if matches!(self.refused(talk, &place).await, Came::Done) {
                        return;
                    }
                } else if let Ok(answer) = talk.json().await {
                    let text = answer["choices"][0]["message"]["content"].as_str();
                    let question = self.question();
                    self.board
                        .whole(&self.name, &question, text.unwrap_or_default());
                    self.board.count("whole bodies");
                    return;
                }
            }
            self.net.note(format!("{}: no answer", self.name));
            if !self.may_repeat(&Place::default()) {
                self.board.count("given up by the client");
                return;
            }
            self.net.sleep(PAUSE).await;
        }
        self.board
            .violate(format!("{} was not answered", self.name));
    }

    /// The first answer names the stream; then others come, too.
    fn learn(&self, talk: &Talk, place: &mut Place) {
        let status = talk.head.status;
        let Some(stream) = talk.header("everstream-stream-id") else {
            self.net.note(format!("{}: {status}", self.name));
            return;
        };
        self.net
            .note(format!("{}: {status}, stream {stream}", self.name));
        if let Some(known) = &place.stream {
            if *known != stream {
                let what = format!("{} came back to {known} and got {stream}", self.name);
                self.board.violate(what);
            }
            return;
        }
        place.stream = Some(stream.clone());
        if !self.plan.stream {
            return;
        }
        for (number, after) in self.plan.followers.iter().enumerate() {
            let follower = Self {
                name: format!("{}f{number}", self.name),
                ..self.clone()
            };
            follower.clone().come_along(stream.clone(), *after);
        }
        if let Some(after) = self.plan.cancels {
            self.clone().cancel(stream, after);
        }
    }

    /// Reads a stream from its beginning.
    fn come_along(self, stream: String, after: Millis) {
        self.present.borrow_mut().push(self.name.clone());
        self.tasks.clone().spawn(async move {
            self.net.sleep(after).await;
            let mut place = Place {
                stream: Some(stream.clone()),
                ..Place::default()
            };
            let mut tries = 0..TRIES;
            while !place.over && tries.next().is_some() {
                let request = get(&stream, place.seen);
                let asked = self.asks(false);
                let talk = Talk::open(&self.net, &self.plan.link, &request).await;
                if let Ok(mut talk) = talk {
                    if talk.head.status == 200 {
                        self.follow(&mut talk, &mut place, None, asked).await;
                    } else if matches!(self.refused(talk, &place).await, Came::Done) {
                        break;
                    }
                }
                self.net.sleep(PAUSE).await;
            }
            if tries.is_empty() {
                self.board
                    .violate(format!("{} was not served: {place:?}", self.name));
            }
            self.gone();
        });
    }

    fn cancel(self, stream: String, after: Millis) {
        self.tasks.clone().spawn(async move {
            self.net.sleep(after).await;
            self.net.note(format!("{stream} is cancelled"));
            let request =
                format!("DELETE /v1/streams/{stream} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
            // One that is lost is no trouble.
            let _ = Talk::open(&self.net, &self.plan.link, &request).await;
        });
    }

    fn gone(&self) {
        self.net.note(format!("{} is done", self.name));
        let mut present = self.present.borrow_mut();
        present.retain(|name| *name != self.name);
    }

    /// Whether asking once more is what this client does.
    fn may_repeat(&self, place: &Place) -> bool {
        place.stream.is_some() || self.plan.key.is_some() || self.plan.retries
    }

    async fn refused(&self, mut talk: Talk, place: &Place) -> Came {
        let status = talk.head.status;
        if status == 204 {
            let stream = place.stream.as_deref().unwrap_or_default();
            let frames = self.board.frames(stream);
            let last = frames.last();
            let at_end = frames.len() as u64 == place.seen
                && last.is_some_and(crate::board::Frame::is_terminal);
            if !at_end {
                self.board
                    .violate(format!("{}: nothing follows {place:?}", self.name));
            }
            return Came::Done;
        }
        let Ok(answer) = talk.json().await else {
            return if self.may_repeat(place) {
                Came::Again
            } else {
                Came::Done
            };
        };
        let Some(code) = code_of(&answer) else {
            self.board
                .violate(format!("{}: {status} with {answer}", self.name));
            return Came::Done;
        };
        self.net.note(format!("{}: {status} {code}", self.name));
        if code == "draining" {
            return Came::Again;
        }
        let lost = matches!(status, 404 | 409 | 410) && place.stream.is_some();
        let ours = matches!(code.as_str(), "internal" | "invalid_cursor");
        if lost && place.seen > 0 || ours {
            let what = format!("{}: {status} {code} for {place:?}", self.name);
            self.board.violate(what);
        }
        self.board.count("refusals");
        Came::Done
    }
}

/// Reads a stream whole, whoever it belongs to, and looks whether it is what everybody saw.
pub(crate) async fn read_again(
    net: &Net,
    board: &Board,
    link: &Arc<crate::net::Link>,
    stream: &str,
) -> Result<(), String> {
    let talk = Talk::open(net, link, &get(stream, 0)).await;
    let mut talk = talk.map_err(|error| format!("{stream} at the end: {error}"))?;
    if talk.head.status != 200 {
        return Err(format!("{stream} at the end: {}", talk.head.status));
    }
    loop {
        match talk.next().await {
            News::Event(_, seq, frame) => board.frame(stream, seq, &frame),
            News::End => return Ok(()),
            News::Broken => return Err(format!("{stream} is cut at the end")),
            News::Wrong(wrong) => return Err(wrong),
        }
    }
}
