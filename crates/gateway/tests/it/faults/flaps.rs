//! A provider that is down and up again for a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use everstream_testkit::provider::{Cut, FakeProvider, Script};

use crate::harness::{Gateway, Setup, StillTime};
use crate::talk::{CHAT, answer, answer_to, chat, data, post};

/// How long it is down, and then up.
const SPELL: Duration = Duration::from_secs(6);
/// Requests of the minute, evenly spread.
const REQUESTS: u32 = 200;
const PACE: Duration = Duration::from_millis(300);

/// A provider that fails in many ways while it is down.
async fn flapping() -> (FakeProvider, Arc<AtomicBool>) {
    let down = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let provider = FakeProvider::start(move |request| {
        if !is_down.load(Ordering::Relaxed) {
            return answer_to(request);
        }
        match turn.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => Script::openai_error(503, "server_error", "unavailable", "Down."),
            1 => Script::hang_up(Cut::Reset),
            _ => Script::chat_stream(&answer()).cut_after_events(1, Cut::Close),
        }
    })
    .await;
    (provider, down)
}

fn route(names: &[&str]) -> String {
    let deployments = names
        .iter()
        .map(|name| format!("[[routes.deployments]]\nupstream = \"{name}\"\n"));
    "[[routes]]\nmodel = \"m\"\n".to_owned() + &deployments.collect::<String>()
}

/// One request: who answered it, or the status of an honest error.
async fn ask(gateway: &Gateway) -> Result<String, u16> {
    let reply = post(gateway, CHAT, &chat("x"), &[]).await;
    if reply.head.status == 200 {
        let upstream = reply.header("everstream-upstream").to_owned();
        let got = data(&reply.frames().await);
        assert_eq!(got, answer().expected_data_without_usage());
        return Ok(upstream);
    }
    let status = reply.head.status;
    assert!(matches!(status, 502 | 503), "{status}");
    reply.error(status).await;
    Err(status)
}

struct Minute {
    answered: Vec<Result<String, u16>>,
    /// Requests while it was down, and how often it was called then.
    down: (usize, usize),
    /// How long after it came up it answered again, at most.
    recovered: Duration,
}

/// A minute of requests, over a provider that is well at its beginning and at its end.
async fn minute(gateway: &Gateway, one: &FakeProvider, down: &AtomicBool) -> Minute {
    let time = StillTime::begin();
    let mut seen = Minute {
        answered: Vec::new(),
        down: (0, 0),
        recovered: Duration::ZERO,
    };
    let mut up_since = Some(Duration::ZERO);
    for turn in 0..REQUESTS {
        let now = PACE * turn;
        let is_down = (now.as_secs() / SPELL.as_secs()) % 2 == 1;
        if down.swap(is_down, Ordering::Relaxed) && !is_down {
            up_since = Some(now);
        }
        let before = one.calls().len();
        let answer = ask(gateway).await;
        if is_down {
            seen.down.0 += 1;
            seen.down.1 += one.calls().len() - before;
        } else if answer.as_deref() == Ok("one")
            && let Some(since) = up_since.take()
        {
            seen.recovered = seen.recovered.max(now.saturating_sub(since));
        }
        seen.answered.push(answer);
        time.pass(PACE).await;
    }
    assert_eq!(up_since, None, "it was not asked again");
    seen
}

#[tokio::test]
async fn with_a_second_deployment_nobody_sees_a_provider_flap() {
    let (one, down) = flapping().await;
    let two = FakeProvider::start(answer_to).await;
    let gateway = Setup::default()
        .upstream("one", &one.base_url(), "")
        .upstream("two", &two.base_url(), "")
        .upstream_fields(&route(&["one", "two"]))
        .start()
        .await;
    let minute = minute(&gateway, &one, &down).await;
    assert!(minute.answered.iter().all(Result::is_ok));
    let (asked, called) = minute.down;
    assert!(
        called * 2 < asked,
        "the breaker stays closed: {:?}",
        minute.down
    );
    assert!(minute.recovered <= SPELL, "{:?}", minute.recovered);
    let calls = one.calls().len() + two.calls().len();
    assert_eq!(
        calls,
        REQUESTS as usize + called,
        "each failure is one more call"
    );
}

#[tokio::test]
async fn alone_it_is_an_honest_error_and_soon_well_again() {
    let (one, down) = flapping().await;
    let gateway = Setup::default()
        .upstream("one", &one.base_url(), "")
        .upstream_fields(&route(&["one"]).replace("\"m\"\n", "\"m\"\nattempts = 1\n"))
        .start()
        .await;
    let minute = minute(&gateway, &one, &down).await;
    let failed = minute.answered.iter().filter(|answer| answer.is_err());
    let (asked, called) = minute.down;
    assert!(
        failed.count() >= asked,
        "somebody was answered while it was down"
    );
    assert!(
        called * 2 < asked,
        "the breaker stays closed: {:?}",
        minute.down
    );
    assert!(minute.recovered <= SPELL, "{:?}", minute.recovered);
    assert!(one.calls().len() <= REQUESTS as usize);
}
