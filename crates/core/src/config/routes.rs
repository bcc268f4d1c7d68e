//! `[[routes]]`: models that several upstreams can answer for.

use super::check::require_upstream;
use super::describe::{Choice, settings};
use super::kinds::{choice, flag, whole};
use super::mistake::Fault;
use super::read::Reader;
use super::spec::sections;
use super::{Config, values};
use crate::dialect::takes_prefix;
use crate::policy::attempt::AttemptPolicy;
use crate::policy::hedge::HedgeAfter;
use crate::policy::recovery::OnCut;
use crate::policy::select::Strategy;

settings! {
    /// `[[routes]]`: a model that several upstreams can answer for.
    pub struct RouteConfig {
        /// The model's name for clients. It goes before the lists of the upstreams.
        model: String = values::model().example("chat").unique();
        /// Who is asked first among deployments of the same priority: the one that comes first in
        /// this file (`priority`), by chance according to the weights (`weighted`), the least busy
        /// (`least_busy`), the better of two in latency (`latency`), the cheapest by `[[prices]]`
        /// (`cheapest`), or
        /// the same for the same session or beginning of a prompt (`sticky`), which keeps the
        /// providers' prompt caches warm.
        strategy: Strategy = choice().or(Strategy::Priority);
        /// The most requests to providers for one answer.
        attempts: u32 = whole(1..=16).or(AttemptPolicy::default().attempts);
        /// Requests may run twice: one that may have run is asked once more of the same deployment,
        /// too.
        idempotent: bool = flag().or(false);
        /// For streamed answers: another deployment is asked too when the first content is so late. That
        /// is a time, or a percentile of what the first deployment took of late. Whoever has content
        /// first is the answer; the other is dropped, and may cost. Counts as one of the `attempts`, and
        /// as a retry of the deployment that is asked. Absent: never.
        hedge_after: Option<HedgeAfter> = values::hedge_after().example("p95").optional();
        /// What becomes of an answer that was cut after some of it was delivered: it goes on at a
        /// deployment that is able to (`recover`), which is charged as two requests, or the failure
        /// is told (`fail`). A request says otherwise with `Everstream-On-Cut`.
        on_cut: OnCut = choice().or(OnCut::Fail);
        /// Who can answer.
        deployments: Vec<DeploymentConfig> = sections();
    }
}

settings! {
    /// `[[routes.deployments]]`: a model of an upstream.
    pub struct DeploymentConfig {
        /// The upstream's name.
        upstream: String = values::name().example("openai");
        /// The model's name there; the route's if absent.
        model: Option<String> = values::model().example("gpt-4o-mini").optional();
        /// Those with a lower number are asked first.
        priority: u32 = whole(0..=1_000).or(0);
        /// Its share of the requests, against those of the others. With 0 it is asked only after
        /// all others of its priority.
        weight: u32 = whole(0..=1_000_000).or(1);
        /// How many tokens the model takes. A request that is too long for one deployment goes to
        /// one with more.
        context_window: Option<u64> = whole(1..=1_000_000_000).example(128_000).optional();
        /// It goes on from the beginning of an answer that another one, or itself, was cut in. Only
        /// for providers that have words for it: docs/recovery.md names them.
        continues: bool = flag().or(false);
        /// It says the same to the same request each time, if that has `temperature` 0 and a `seed`:
        /// its engine is batch-invariant. Then an answer that was cut is run again.
        deterministic: bool = flag().or(false);
        /// A canary: this percentage of the requests asks it first, whatever its priority; all
        /// others ask it only after all others of the route. A session (`Everstream-Session`, or
        /// else what the body has as `prompt_cache_key`, `user` or the like) stays on its side.
        canary: Option<u32> = whole(0..=100).example(5).optional();
        /// Shadow traffic: a copy of this percentage of the requests goes to it. Clients never hear
        /// of it, or wait for it: its answer is read and dropped, and what became of it is logged
        /// and counted. It costs what its provider takes. It is no part of the order of the route.
        shadow: u32 = whole(0..=100).or(0);
    }
}

impl Choice for OnCut {
    const ALL: &'static [Self] = Self::ALL;

    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Choice for Strategy {
    const ALL: &'static [Self] = Self::ALL;

    fn word(self) -> &'static str {
        self.as_str()
    }
}

/// Checks that routes lead somewhere.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    // Mistaken entries are not among those that were read, and the places of others not certain.
    if reader.is_torn() || reader.doubtful("routes") {
        return;
    }
    for (index, route) in config.routes.iter().enumerate() {
        let section = format!("routes[{index}]");
        if route.deployments.iter().all(|at| at.shadow > 0) {
            let fault = Fault::from("the route leads nowhere").hint(
                "add `[[routes.deployments]]` with an `upstream`, and not only with `shadow`",
            );
            reader.note_at(&section, fault);
        }
        if config.aliases.contains_key(&route.model) {
            let fault = Fault::from("there is an alias of the same name, which goes before");
            reader.note_at(&format!("{section}.model"), fault);
        }
        trials(route, &section, reader);
        for (place, deployment) in route.deployments.iter().enumerate() {
            let section = format!("{section}.deployments[{place}]");
            let problem = "there is no upstream of this name";
            let field = format!("{section}.upstream");
            require_upstream(&deployment.upstream, problem, &field, reader);
            twice(route, place, &section, reader);
            continues(config, route, place, &section, reader);
        }
    }
}

/// Canaries share the requests, and shadows are given none.
fn trials(route: &RouteConfig, section: &str, reader: &mut Reader<'_>) {
    let mut sum = 0;
    for (place, at) in route.deployments.iter().enumerate() {
        let field = format!("{section}.deployments[{place}].canary");
        let Some(share) = at.canary else { continue };
        if at.shadow > 0 {
            let fault = Fault::from("it is a `shadow`, too");
            reader.note_at(&field, fault.hint("an upstream is the one or the other"));
        }
        sum += share;
        if sum > 100 {
            let fault = Fault::from("the canaries of the route have more than 100 percent");
            reader.note_at(&field, fault);
        }
    }
}

/// An upstream that takes no beginning of an answer would refuse each of them.
fn continues(
    config: &Config,
    route: &RouteConfig,
    place: usize,
    section: &str,
    reader: &mut Reader<'_>,
) {
    let deployment = &route.deployments[place];
    let mut upstreams = config.upstreams.iter();
    let Some(upstream) = upstreams.find(|one| one.name() == deployment.upstream) else {
        return;
    };
    if !deployment.continues || reader.doubtful("upstreams") {
        return;
    }
    let model = deployment.model.as_ref().unwrap_or(&route.model);
    if takes_prefix(upstream.dialect(), &upstream.traits(model)) {
        return;
    }
    let fault = Fault::from("this model's provider has no words to go on from a beginning")
        .hint("leave it out; docs/recovery.md names the providers that have");
    reader.note_at(&format!("{section}.continues"), fault);
}

fn twice(route: &RouteConfig, place: usize, section: &str, reader: &mut Reader<'_>) {
    let named = |at: &DeploymentConfig| {
        let model = at.model.as_ref().unwrap_or(&route.model);
        (at.upstream.clone(), model.clone())
    };
    let own = named(&route.deployments[place]);
    if route.deployments[..place].iter().any(|at| named(at) == own) {
        let fault = Fault::from("this upstream and model are on the route already");
        reader.note_at(section, fault);
    }
}
