use super::*;

#[test]
fn every_pair_and_shape_comes_out_whole() {
    for shape in Shape::ALL {
        for (provider, language) in PROVIDERS {
            let reads = shape.stream(language);
            let most = if shape == Shape::Text { 500 } else { 10 };
            assert!(
                reads.len() > most,
                "{shape:?} {provider:?}: {}",
                reads.len()
            );
            for surface in SURFACES {
                let events = answer(&plan(surface, provider), &reads);
                assert!(events.is_ok(), "{}: {events:?}", pair(surface, provider));
            }
        }
    }
}

#[test]
fn an_answer_that_is_cut_is_no_measurement() {
    let reads = Shape::Text.stream(ClientDialect::Anthropic);
    let cut = &reads[..reads.len() - 3];
    let ended = answer(
        &plan(Surface::ChatCompletions, ProviderDialect::Anthropic),
        cut,
    );
    assert!(ended.unwrap_err().contains("Failed"));
}

#[test]
fn each_round_has_each_pair_in_each_shape() {
    let runs = measure(1, "").unwrap();
    assert_eq!(
        runs.len(),
        Shape::ALL.len() * SURFACES.len() * PROVIDERS.len()
    );
    assert!(runs.iter().all(|run| run.figures["cpu_per_event_ns"] > 0.0));
}
