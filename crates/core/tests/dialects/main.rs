//! The dialects in translation: golden transcripts, round trips, requests.

#![allow(clippy::unwrap_used, reason = "tests may be plain")]
#![allow(clippy::too_many_lines, reason = "tables of cases are long")]

mod anthropic_client;
mod bedrock;
mod cohere;
mod errors;
mod frames;
mod gemini_client;
mod gemini_properties;
mod gemini_requests;
mod properties;
mod provider_page;
mod providers;
mod requests;
mod responses_client;
mod responses_properties;
mod responses_requests;
mod responses_snapshot;
mod snapshot;
mod table;
mod transcripts;
