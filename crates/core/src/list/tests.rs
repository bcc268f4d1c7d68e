use proptest::prelude::*;

use super::*;
use crate::event::{Mode, Status, Surface};
use crate::id::{Seq, StreamId, UnixMillis};

fn info(id: u64, created_at: u64, model: &str, status: Status) -> StreamInfo {
    StreamInfo {
        id: StreamId::from_bits(id),
        project: "p".parse().unwrap(),
        status,
        surface: Surface::ChatCompletions,
        mode: Mode::Stream,
        model: model.to_owned(),
        upstream: Some("ollama".to_owned()),
        created_at: UnixMillis(created_at),
        ended_at: None,
        last_seq: Seq::new(created_at % 7),
        reason: None,
        usage: None,
    }
}

fn streams() -> impl Strategy<Value = Vec<StreamInfo>> {
    let status = prop_oneof![Just(Status::Running), Just(Status::Completed)];
    let model = prop_oneof![Just("gpt-4o"), Just("qwen3:8b"), Just("SmolLM2")];
    let one = (0u64..50, model, status);
    proptest::collection::vec(one, 0..80).prop_map(|all| {
        let numbered = all.into_iter().enumerate();
        numbered
            .map(|(id, (at, model, status))| info(id as u64, at, model, status))
            .collect()
    })
}

fn run(query: &ListQuery, all: &[StreamInfo]) -> ListPage {
    let mut selection = Selection::new(query);
    all.iter().for_each(|info| selection.see(info));
    selection.finish()
}

proptest! {
    #[test]
    fn pages_hold_each_match_once_and_in_order(
        all in streams(),
        size in 1usize..9,
        key in 0..SORT_KEYS.len(),
        descending: bool,
        words in prop_oneof![Just(""), Just("status:running"), Just("qwen3:8b"), Just("model:GPT smol")],
    ) {
        let direction = if descending { "desc" } else { "asc" };
        let sort = format!("{}:{direction}", SORT_KEYS[key].0);
        let size_text = size.to_string();
        let query = |page: usize| {
            let page = page.to_string();
            ListQuery::parse(Some(words), Some(&page), Some(&size_text), Some(&sort)).unwrap()
        };
        let mut expected: Vec<_> =
            all.iter().filter(|info| query(1).matches(info)).cloned().collect();
        expected.sort_by(|a, b| query(1).order(a, b));
        let pages = all.len() / size + 1;
        let mut got = Vec::new();
        for page in 1..=pages {
            let answer = run(&query(page), &all);
            prop_assert_eq!(answer.total, expected.len());
            prop_assert!(answer.streams.len() <= size);
            got.extend(answer.streams);
        }
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn parse_never_panics(query in "\\PC{0,40}", page in "\\PC{0,6}", sort in "\\PC{0,12}") {
        let _ = ListQuery::parse(Some(&query), Some(&page), Some(&page), Some(&sort));
    }
}

#[test]
fn words_look_where_they_say() {
    let stream = info(1, 1, "qwen3:8b", Status::Running);
    let hits = |query| {
        ListQuery::parse(Some(query), None, None, None)
            .unwrap()
            .matches(&stream)
    };
    for query in [
        "",
        "qwen3:8b",
        "8B",
        "status:running model:qwen",
        "ollama",
        "upstream:oll",
    ] {
        assert!(hits(query), "{query}");
    }
    for query in [
        "status:run",
        "model:8b",
        "surface:chat",
        "nothing",
        "ollama status:failed",
    ] {
        assert!(!hits(query), "{query}");
    }
}

#[test]
fn mistakes_name_the_parameter() {
    let param = |page, size, sort| {
        ListQuery::parse(None, page, size, sort)
            .unwrap_err()
            .param
            .unwrap()
    };
    assert_eq!(param(Some("0"), None, None), "page");
    assert_eq!(param(None, Some("201"), None), "size");
    assert_eq!(param(None, None, Some("create_at")), "sort");
    let error = ListQuery::parse(None, None, None, Some("create_at:desc")).unwrap_err();
    assert!(
        error.message.contains("Did you mean `created_at`?"),
        "{}",
        error.message
    );
}
