use super::check::{Arrival, Check, check_text};
use super::report::page;
use super::*;

fn token(stream: u32, number: u32, nanos: u64) -> String {
    format!(r#"data: {{"delta":{{"content":"{stream:08x}.{number:08x}.{nanos:016x} "}}}}"#)
}

fn check(text: &str, has_ids: bool) -> Result<Vec<Arrival>, String> {
    let mut arrivals = Vec::new();
    let mut check = Check::new(7, 2, has_ids);
    // In two pieces, cut in every line and between.
    let (mut kept, half) = (Vec::new(), text.len() / 2);
    for piece in [&text[..half], &text[half..]] {
        kept.extend_from_slice(piece.as_bytes());
        let taken = check.take(&kept, 1_000, &mut arrivals)?;
        kept.drain(..taken);
    }
    check.finish()?;
    Ok(arrivals)
}

#[test]
fn a_whole_stream_passes_and_its_delays_are_known() {
    let (a, b) = (token(7, 0, 400), token(7, 1, 900));
    let plain = format!("data: {{}}\n\n{a}\n\n: ping\n{b}\n\ndata: [DONE]\n\n");
    let delays: Vec<u64> = check(&plain, false)
        .unwrap()
        .iter()
        .map(|a| a.delay)
        .collect();
    assert_eq!(delays, [600, 100]);
    let with_ids = format!("retry: 700\n{a}\nid: s.1\n\n{b}\nid: s.2\n\ndata: [DONE]\nid: s.3\n\n");
    assert_eq!(check(&with_ids, true).unwrap().len(), 2);
}

#[test]
fn whatever_is_wrong_with_a_stream_fails() {
    let (a, b) = (token(7, 0, 1), token(7, 1, 2));
    let done = "data: [DONE]\n\n";
    for (text, has_ids, expected) in [
        (
            format!("{a}\n\n{done}"),
            false,
            "1 of 2 tokens, with [DONE]",
        ),
        (
            format!("{a}\n\n{b}\n\n"),
            false,
            "2 of 2 tokens, without [DONE]",
        ),
        (format!("{b}\n\n{done}"), false, "lost or doubled"),
        (
            format!("{a}\n\n{a}\n\n{b}\n\n{done}"),
            false,
            "lost or doubled",
        ),
        (format!("{}\n\n", token(8, 0, 1)), false, "another stream"),
        (format!("{a}\n\n{b} \n\n{done}"), false, "changed"),
        (format!("{a}\n{b}\n\n{done}"), false, "twice in one event"),
        (format!("{a}\nid: s.1\n\n"), false, "not expected"),
        (format!("{a}\n\n"), true, "without an id"),
        (format!("{a}\nid: s.2\n\n"), true, "not the next one"),
        (format!("{a}\n\n\n"), false, "blank line"),
        (format!("{done}{a}\n\n"), false, "after [DONE]"),
        ("data: {\"cut\n\n".into(), false, "not one object"),
        ("nonsense\n\n".into(), false, "not a line"),
    ] {
        let error = check(&text, has_ids).unwrap_err();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn the_tokens_of_a_whole_answer_are_counted() {
    let text = |numbers: &[u32]| {
        let stamp = |n: &u32| format!("00000007.{n:08x}.0000000000000001 ");
        let content: String = numbers.iter().map(stamp).collect();
        format!(r#"{{"message":{{"content":"{content}"}}}}"#)
    };
    assert_eq!(check_text(text(&[0, 1]).as_bytes(), 7, 2), Ok(()));
    for numbers in [&[0][..], &[0, 0], &[0, 2], &[0, 1, 2]] {
        assert!(
            check_text(text(numbers).as_bytes(), 7, 2).is_err(),
            "{numbers:?}"
        );
    }
    assert!(check_text(text(&[0, 1]).as_bytes(), 8, 2).is_err());
}

#[test]
fn percentiles_are_values_that_were_measured() {
    let sorted: Vec<u64> = (1..=1000).collect();
    let percentiles = [0, 500, 990, 999, 1000].map(|per_mille| percentile(&sorted, per_mille));
    assert_eq!(percentiles, [1, 500, 990, 999, 1000]);
    assert_eq!(percentile(&[5], 999), 5);
    assert_eq!(percentile(&[], 990), 0);
}

#[test]
fn the_page_shows_medians_and_ratios_and_keeps_what_was_written_by_hand() {
    let mut runs = Vec::new();
    for (round, nginx, own) in [
        (1, 1000.0, 2000.0),
        (2, 4000.0, 4000.0),
        (3, 1500.0, 4500.0),
    ] {
        for (target, figure) in [("nginx", nginx), ("Everstream, interval", own)] {
            runs.push(Run {
                target: target.into(),
                scenario: "blast-x1".into(),
                round,
                figures: Figures::from([("events_per_s".into(), figure)]),
            });
        }
    }
    let first = page(&runs, "- a machine\n", "");
    assert!(
        first.contains("\n| nginx | 1,500 | - | - | - |\n"),
        "{first}"
    );
    assert!(
        first.contains("\n| Everstream, interval | 4,000 (2.00) | - | - | - |\n"),
        "{first}"
    );
    assert!(!first.contains("Short answers"), "{first}");
    let edited = first.replace("Nothing is written here yet.", "The kernel.");
    let second = page(&runs, "- another machine\n", &edited);
    assert!(second.contains("The kernel.") && second.contains("- another machine"));
    assert_eq!(page(&runs, "- another machine\n", &second), second);
}

#[test]
fn this_process_has_cpu_time_and_memory() {
    let process = Process(std::process::id());
    assert!(process.resident().unwrap() > 1 << 20);
    assert!(process.cpu().is_ok());
}

#[test]
fn the_page_shows_translation_by_its_best_round_next_to_passing_through() {
    let run = |target: &str, scenario: &str, round, nanos: f64| Run {
        target: target.into(),
        scenario: scenario.into(),
        round,
        figures: Figures::from([("cpu_per_event_ns".into(), nanos)]),
    };
    let mut runs = Vec::new();
    for scenario in ["translate-text", "translate-tool"] {
        runs.push(run("messages/anthropic", scenario, 1, 300.0));
        runs.push(run("messages/anthropic", scenario, 2, 250.0));
        runs.push(run("chat_completions/anthropic", scenario, 1, 1000.0));
        runs.push(run("chat_completions/anthropic", scenario, 2, 500.0));
    }
    let page = page(&runs, "- a machine\n", "");
    let (_, table) = page.split_once("## Translation").unwrap();
    for row in [
        "| messages | anthropic | 4,000,000 | 250 | 4,000,000 | 250 |\n",
        "| chat_completions | anthropic | 2,000,000 | 500 (2.00) | 2,000,000 | 500 (2.00) |\n",
    ] {
        assert!(table.contains(row), "{table}");
    }
    assert!(!table.contains("gemini |"), "{table}");
}
