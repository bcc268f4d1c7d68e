use axum::routing::MethodFilter;

/// A path that is passed on.
pub(in crate::http) struct Row {
    /// Where it is. Below `/v1` it is the same at the upstream.
    pub(in crate::http) path: &'static str,
    /// What can be done there.
    pub(in crate::http) methods: MethodFilter,
    /// What decides to whom it goes.
    pub(super) model: Model,
    /// The members of an answer, or of its events, that state its usage.
    pub(super) usage: &'static [&'static str],
}

/// Where a request's model is found: in the member of a JSON body, or in the field of a multipart one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// It has to be there.
    Required,
    /// Without it the upstream has a default.
    Optional,
    /// There is none: the client names the upstream, or there is only one.
    None,
}

const POST: MethodFilter = MethodFilter::POST;
const GET: MethodFilter = MethodFilter::GET;

const fn named(path: &'static str, model: Model) -> Row {
    Row {
        path,
        methods: POST,
        model,
        usage: &["usage"],
    }
}

const fn nameless(path: &'static str, methods: MethodFilter) -> Row {
    Row {
        path,
        methods,
        model: Model::None,
        usage: &[],
    }
}

/// All of them.
pub(in crate::http) static ROWS: [Row; 18] = [
    named("/v1/images/generations", Model::Optional),
    named("/v1/images/edits", Model::Optional),
    named("/v1/images/variations", Model::Optional),
    named("/v1/audio/speech", Model::Required),
    named("/v1/audio/transcriptions", Model::Required),
    named("/v1/audio/translations", Model::Required),
    named("/v1/moderations", Model::Optional),
    Row {
        // Jina's has `usage`, Cohere's `meta.billed_units`.
        usage: &["usage", "meta"],
        ..named("/v1/rerank", Model::Required)
    },
    nameless("/v1/files", GET.or(POST)),
    nameless("/v1/files/{id}", GET.or(MethodFilter::DELETE)),
    nameless("/v1/files/{id}/content", GET),
    nameless("/v1/uploads", POST),
    nameless("/v1/uploads/{id}/parts", POST),
    nameless("/v1/uploads/{id}/complete", POST),
    nameless("/v1/uploads/{id}/cancel", POST),
    nameless("/v1/batches", GET.or(POST)),
    nameless("/v1/batches/{id}", GET),
    nameless("/v1/batches/{id}/cancel", POST),
];
