//! The integration tests: a real gateway over real sockets, in front of scripted providers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::large_futures,
    clippy::large_stack_arrays,
    clippy::match_bool,
    clippy::too_many_lines,
    reason = "a test may be plain"
)]
#![allow(
    unreachable_pub,
    reason = "what the modules here share is public to them"
)]

mod admin;
mod admin_audit;
mod admin_cli;
mod admin_crowd;
mod admin_keys;
mod admin_random;
mod admin_tenants;
mod admin_usage;
mod bad_client;
mod bad_upstream;
mod bedrock;
mod canaries;
mod catalogued;
mod certs;
mod chat;
mod cli;
mod cohere;
mod dialects;
mod directions;
mod disconnect;
mod disk;
mod docs;
mod embedded;
mod failures;
mod fallback;
mod faults;
mod forms;
mod fuzz;
mod gemini;
mod gemini_faults;
mod gemini_life;
mod golden;
mod harness;
mod hedging;
mod http2;
mod identity;
mod jwt;
mod key_life;
mod limited;
mod limited_shared;
mod limited_ways;
mod list;
mod messages;
mod messages_life;
mod million;
mod money;
mod money_postgres;
mod money_stop;
mod money_trouble;
mod money_ways;
mod openssl;
mod overload;
mod pages;
mod probes;
mod process;
mod prompts;
mod providers;
mod proxy;
mod raw;
mod readers;
mod realtime;
mod reattach;
mod recovering;
mod refusals;
mod relay;
mod relay_life;
mod relay_log;
mod relay_refused;
mod responses;
mod responses_conversation;
mod responses_life;
mod restart;
mod resume;
mod retry;
mod scopes;
mod secrets;
mod signed;
mod signer;
mod smuggling;
mod soak;
mod socket;
mod speech;
mod talk;
mod tls;
mod tls_process;
mod token;
mod upstream_http2;
mod vault;
mod vault_server;
mod ways;
mod ways_keys;
mod wire;
mod ws;
mod ws_abuse;
