use super::translation::translation;
use super::{Column, Show, table};
use crate::load::Run;

const BY_HAND: &str = "<!-- by hand: kept when this page is written anew -->";
const END_OF_HAND: &str = "<!-- end of by hand -->";

/// The page for `runs`. `about` says what was measured where, as a list; what stands between the
/// marks for text by hand is taken over from `old`.
pub fn page(runs: &[Run], about: &str, old: &str) -> String {
    let mut text = format!("{INTRODUCTION}\n{}\n", about.trim_end());
    text.push_str(REPEAT);
    for (title, scenario, explanation, columns) in sections(runs) {
        if runs.iter().any(|run| run.scenario == scenario) {
            let table = table(runs, &scenario, columns);
            text.extend(["\n## ", &title, "\n\n", explanation, "\n\n", &table]);
        }
    }
    text.push_str(&translation(runs));
    let kept = old
        .split_once(BY_HAND)
        .and_then(|(_, rest)| Some(rest.split_once(END_OF_HAND)?.0));
    let kept = kept.unwrap_or("\n## What limits it\n\nNothing is written here yet.\n\n");
    text.extend(["\n", BY_HAND, kept, END_OF_HAND, "\n"]);
    text
}

const INTRODUCTION: &str = "\
# Benchmarks

What Everstream costs, measured against nginx as a plain proxy without a buffer, and against no proxy
at all. Only the ratios mean something on another machine: in parentheses is how many times nginx's
the figure is, for throughput more is better, for all else less.
";

const REPEAT: &str = "
`make bench` repeats it (about 20 minutes), `scripts/bench.sh --quick` in about three. The program
under test has a core of its own, with one worker; the provider and the clients share one
thread on the other. A round runs every target once, one after the other; a figure is the median of the rounds, a
ratio the median of the ratios within each. Every target starts anew for each run, with an empty log.

`direct` is the provider itself. nginx proxies HTTP/1.1 with `proxy_buffering off`, kept-alive
connections and no access log: no authentication, no parsing, no log of answers. Everstream
authenticates each request, understands and logs each event before it is delivered, and asks the
provider for the usage. `none`, `interval` and `always` are its disk log by `log.sync`, `memory` is the
log without a disk.

Each token carries its stream, its number and the time it was written. A token that is lost, doubled,
changed or out of order, or an event id that is not the next one, fails the run.
";

type Section = (String, String, &'static str, &'static [Column]);

fn sections(runs: &[Run]) -> Vec<Section> {
    let section = |title: &str, scenario: &str, explanation, columns| {
        (title.to_owned(), scenario.to_owned(), explanation, columns)
    };
    let mut all = vec![
        section(
            "Time to the first token",
            "first-token",
            "One request after the other. Added is what is left without the provider's own time.",
            FIRST_TOKEN,
        ),
        section(
            "Full blast, one event per write",
            "blast-x1",
            "64 streams as fast as they go; the provider writes each event by itself, when the one \
             before it has arrived: what is measured is the event, not the size of buffers. The delay \
             is from the provider's write to the client's read.",
            BLAST,
        ),
        section(
            "Full blast, eight events per write",
            "blast-x8",
            "The same, with eight events in each write of the provider.",
            BLAST,
        ),
        section(
            "Flood",
            "flood-x1",
            "64 streams, one event per write, and the provider waits for nothing: all buffers on the \
             way are full, and most reads bring many events. The delay is mostly the buffers' size.",
            BLAST,
        ),
    ];
    for streams in numbers(runs, "slow-") {
        let title = format!("{streams} slow streams");
        let explanation = "A token every 300 to 500 ms on each of them. Memory is what the program \
                           grew by from idle, per stream.";
        all.push(section(
            &title,
            &format!("slow-{streams}"),
            explanation,
            SLOW,
        ));
    }
    all.push(section(
        "Short answers",
        "short",
        "64 clients; each answer is streamed, has five events, and is asked for when the one before \
         it is read.",
        ANSWERS,
    ));
    for clients in numbers(runs, "plain-") {
        let title = format!("Plain requests, {clients} at once");
        let explanation = "Answers of one JSON body.";
        all.push(section(
            &title,
            &format!("plain-{clients}"),
            explanation,
            ANSWERS,
        ));
    }
    for faulty in numbers(runs, "faulty-") {
        let title = format!("A route of ten upstreams, {faulty} of them faulty");
        let explanation = "16 clients; 20 tokens, a millisecond apart. What is faulty fails each time, in \
                           turn by a 503, a reset, an error event, a 500 and silence.";
        all.push(section(
            &title,
            &format!("faulty-{faulty}"),
            explanation,
            FAULTY,
        ));
    }
    all.extend(LAST.map(|(title, name, text, columns)| section(title, name, text, columns)));
    all
}

const LAST: [(&str, &str, &str, &[Column]); 2] = [
    (
        "Clients that leave",
        "leave",
        "Half of 500 clients leave after a third of their answer. Sent is how much of the rest the \
         provider went on to send; memory is before, with all streams open, and two seconds after \
         the last one ended.",
        LEAVE,
    ),
    (
        "Made-up keys",
        "beside",
        "200 streamed answers a second of five events each, for a key of the database, alone and, in \
         turns with that, beside a flood as fast as it is answered: 64 connections with 8 requests on \
         their way on each. The flood's clients share a core with those that are measured and with the \
         provider, and give way to both. Looked up is how often the database was asked for a key.",
        BESIDE,
    ),
];

/// The numbers that end the scenarios of this name, ascending.
fn numbers(runs: &[Run], prefix: &str) -> Vec<u32> {
    let number = |run: &Run| run.scenario.strip_prefix(prefix)?.parse().ok();
    let mut numbers: Vec<u32> = runs.iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

const fn column(title: &'static str, figure: &'static str, scale: f64, show: Show) -> Column {
    Column {
        title,
        figure,
        scale,
        show,
    }
}

const FIRST_TOKEN: &[Column] = &[
    column("p50, µs", "first_token_p50_us", 1.0, Show::Figure),
    column("p99, µs", "first_token_p99_us", 1.0, Show::Figure),
    column("added p50, µs", "first_token_p50_us", 1.0, Show::Added),
    column("added p99, µs", "first_token_p99_us", 1.0, Show::Added),
];
const BLAST: &[Column] = &[
    column("events/s", "events_per_s", 1.0, Show::Ratio),
    column("CPU per event, µs", "cpu_per_event_us", 1.0, Show::Ratio),
    column("delay p50, ms", "delay_p50_us", 1e3, Show::Figure),
    column("delay p99, ms", "delay_p99_us", 1e3, Show::Ratio),
];
const SLOW: &[Column] = &[
    column("delay p50, ms", "delay_p50_us", 1e3, Show::Figure),
    column("delay p99, ms", "delay_p99_us", 1e3, Show::Ratio),
    column("delay p99.9, ms", "delay_p999_us", 1e3, Show::Ratio),
    column("added p99, ms", "delay_p99_us", 1e3, Show::Added),
    column("CPU, %", "cpu_percent", 1.0, Show::Ratio),
    column(
        "memory per stream, KiB",
        "memory_per_stream_kib",
        1.0,
        Show::Ratio,
    ),
];
const ANSWERS: &[Column] = &[
    column("answers/s", "answers_per_s", 1.0, Show::Ratio),
    column("CPU per answer, µs", "cpu_per_answer_us", 1.0, Show::Ratio),
    column("p50, ms", "answer_p50_us", 1e3, Show::Figure),
    column("p99, ms", "answer_p99_us", 1e3, Show::Ratio),
];
const FAULTY: &[Column] = &[
    column("whole answers/s", "whole_per_s", 1.0, Show::Figure),
    column("failed, %", "failed_percent", 1.0, Show::Figure),
    column("CPU per answer, µs", "cpu_per_answer_us", 1.0, Show::Figure),
    column("p50, ms", "answer_p50_us", 1e3, Show::Figure),
    column("p99, ms", "answer_p99_us", 1e3, Show::Figure),
];
const BESIDE: &[Column] = &[
    column("alone: p50, ms", "alone_p50_us", 1e3, Show::Figure),
    column("p99, ms", "alone_p99_us", 1e3, Show::Figure),
    column("beside it: p50, ms", "beside_p50_us", 1e3, Show::Figure),
    column("p99, ms", "beside_p99_us", 1e3, Show::Figure),
    column("p99, times alone", "p99_times", 1.0, Show::Figure),
    column("refused/s", "flood_per_s", 1.0, Show::Figure),
    column("looked up", "looked_up", 1.0, Show::Figure),
];
const LEAVE: &[Column] = &[
    column("sent, %", "sent_after_leaving_percent", 1.0, Show::Figure),
    column("memory before, MiB", "memory_idle_mib", 1.0, Show::Figure),
    column("open, MiB", "memory_open_mib", 1.0, Show::Figure),
    column("after, MiB", "memory_after_mib", 1.0, Show::Figure),
];
