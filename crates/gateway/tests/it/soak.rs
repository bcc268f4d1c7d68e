//! The soak of `cargo run -p everstream-testkit --bin soak`, for as long as a test may take.

use std::time::Duration;

use everstream_testkit::soak::Soak;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_come_and_go_leave_nothing_behind() {
    let soak = Soak {
        gateway: env!("CARGO_BIN_EXE_everstream").into(),
        duration: Duration::from_secs(20),
        concurrency: 40,
        pause: Duration::from_millis(20),
        every: Duration::from_secs(1),
        // So little that retention is soon at work.
        max_bytes: 4 << 20,
        sync: "interval".to_owned(),
    };
    let report = soak.run().await.unwrap();
    assert!(report.faults.is_empty(), "{:#?}", report.faults);
    assert!(report.streams > 100, "{report:?}");
}
