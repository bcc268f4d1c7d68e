//! What readers saw, whoever they were and wherever they read, and what must hold of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use everstream::generate::live::Batch;
use everstream_core::event::Event;
use everstream_core::id::{Seq, StreamId};
use everstream_core::limits;
use everstream_core::record::End;

/// How one reader's reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It waits, or is about to read.
    Reading,
    /// It got all there is, the end included.
    Finished,
    /// It was told that no more can be read here, its process died, or it went away.
    Gone,
}

/// The one place where everything that anybody saw comes together.
#[derive(Default)]
pub(crate) struct Board(Mutex<State>);

#[derive(Default)]
struct State {
    /// By the simulation's number.
    streams: BTreeMap<usize, Seen>,
    /// Batches that were given to readers out of a live stream's memory, by process and stream.
    batches: HashMap<(u32, usize), Kept>,
    readers: Vec<Fate>,
    violation: Option<String>,
    trace: String,
    asked: u64,
}

/// Batches, each with the size of its frames, as long as somebody keeps them.
type Kept = Vec<(usize, Weak<Batch>)>;

/// All that was ever seen of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The frame of each event, from the first on.
    pub(crate) frames: Vec<Bytes>,
    pub(crate) end: Option<Arc<End>>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line into the trace.
    pub(crate) fn note(&self, line: &str) {
        let mut state = self.lock();
        let _ = writeln!(state.trace, "  {line}");
        state.asked += 1;
    }

    /// Something must not be. The first such thing counts.
    pub(crate) fn violate(&self, what: String) {
        self.note(&format!("VIOLATION: {what}"));
        self.lock().violation.get_or_insert(what);
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    /// The trace so far. Two runs of one schedule share it.
    pub(crate) fn trace(&self) -> String {
        self.lock().trace.clone()
    }

    /// How much was seen and noted so far.
    pub(crate) fn noted(&self) -> u64 {
        self.lock().asked
    }

    /// A new reader, and its number.
    pub(crate) fn sit(&self) -> usize {
        let mut state = self.lock();
        state.readers.push(Fate::Reading);
        state.readers.len() - 1
    }

    pub(crate) fn fate(&self, reader: usize) -> Fate {
        let state = self.lock();
        state.readers.get(reader).copied().unwrap_or(Fate::Gone)
    }

    /// What becomes of a reader; what became of it stays.
    pub(crate) fn stand_up(&self, reader: usize, fate: Fate) {
        let mut state = self.lock();
        if let Some(seat) = state.readers.get_mut(reader)
            && *seat == Fate::Reading
        {
            *seat = fate;
        }
    }

    /// What was seen of a stream.
    pub(crate) fn seen(&self, number: usize) -> Seen {
        self.lock()
            .streams
            .get(&number)
            .cloned()
            .unwrap_or_default()
    }

    /// Somebody was given `batch`, whose events after `before` were new to it.
    pub(crate) fn saw(&self, number: usize, batch: &Batch, before: Seq) {
        let mut mistake = None;
        let mut state = self.lock();
        let seen = state.streams.entry(number).or_default();
        let mut expected = before.next();
        for (event, frame) in frames(batch, before) {
            if event.seq != expected {
                mistake = Some(format!("s{number}: {} came, not {expected}", event.seq));
                break;
            }
            expected = expected.next();
            let at = usize::try_from(event.seq.get() - 1).unwrap_or(usize::MAX);
            match seen.frames.get(at) {
                Some(known) if *known == frame => {}
                Some(known) => {
                    let seq = event.seq;
                    mistake = Some(format!("s{number}.{seq} is {frame:?}, and was {known:?}"));
                    break;
                }
                None if at == seen.frames.len() && seen.end.is_none() => seen.frames.push(frame),
                None => {
                    let seq = event.seq;
                    mistake = Some(format!("s{number}.{seq} came out of nowhere: {frame:?}"));
                    break;
                }
            }
        }
        drop(state);
        if let Some(mistake) = mistake {
            self.violate(mistake);
        }
    }

    /// Somebody was told that the stream ended after `seq`.
    pub(crate) fn saw_end(&self, number: usize, seq: Seq, end: &Arc<End>) {
        let mut state = self.lock();
        let seen = state.streams.entry(number).or_default();
        let len = seen.frames.len() as u64;
        let known = seen.end.get_or_insert_with(|| Arc::clone(end)).clone();
        drop(state);
        if known != *end {
            self.violate(format!(
                "s{number} ended as {end:?}, and before as {known:?}"
            ));
        }
        if len != seq.get() {
            self.violate(format!("s{number} ended at {seq} for one reader, of {len}"));
        }
    }

    /// A reader that is attached to a live stream in a process was given this batch.
    pub(crate) fn kept(&self, process: u32, number: usize, batch: &Arc<Batch>) {
        let mut state = self.lock();
        let kept = state.batches.entry((process, number)).or_default();
        let weak = Arc::downgrade(batch);
        if !kept.iter().any(|(_, other)| Weak::ptr_eq(other, &weak)) {
            kept.push((batch.frames.len(), weak));
        }
    }

    /// No live stream keeps more than its bound and the batch that is being read, now that no
    /// reader holds anything.
    pub(crate) fn check_memory(&self) {
        let mut too_much = None;
        let mut state = self.lock();
        for ((process, number), kept) in &mut state.batches {
            kept.retain(|(_, batch)| batch.strong_count() > 0);
            let bytes: usize = kept.iter().map(|(bytes, _)| bytes).sum();
            let largest = kept.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0);
            if bytes > limits::LIVE_TAIL_BYTES + largest {
                too_much = Some(format!("p{process} keeps {bytes} bytes of s{number}"));
            }
        }
        state.batches.retain(|_, kept| !kept.is_empty());
        drop(state);
        if let Some(too_much) = too_much {
            self.violate(too_much);
        }
    }
}

/// The events of a batch after `before`, each with its frame.
pub(crate) fn frames(batch: &Batch, before: Seq) -> impl Iterator<Item = (&Event, Bytes)> {
    batch.events_after(before).iter().map(|event| {
        let previous = Seq::new(event.seq.get().saturating_sub(1));
        let from = batch.frames_after(previous);
        let len = from.len() - batch.frames_after(event.seq).len();
        (event, Bytes::copy_from_slice(&from[..len]))
    })
}

/// The frames of events as a reader would get them.
pub(crate) fn render(stream: StreamId, events: Vec<Event>) -> Vec<Bytes> {
    if events.is_empty() {
        return Vec::new();
    }
    let before = Seq::new(events[0].seq.get().saturating_sub(1));
    let batch = Batch::render(stream, events);
    frames(&batch, before).map(|(_, frame)| frame).collect()
}
