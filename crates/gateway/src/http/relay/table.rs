use axum::routing::MethodFilter;
use everstream_core::policy::scope::Api;

/// A path that is passed on.
pub(in crate::http) struct Row {
    /// Where it is. Below `/v1` it is the same at the upstream.
    pub(in crate::http) path: &'static str,
    /// What can be done there.
    pub(in crate::http) methods: MethodFilter,
    /// What a key needs to be allowed.
    pub(super) api: Api,
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
    /// The same, but what is posted leads to models: a file names them, which nobody reads here.
    InFile,
}

impl Model {
    /// Whether no request has a place for it.
    pub(super) const fn is_never_named(self) -> bool {
        matches!(self, Self::None | Self::InFile)
    }
}

const POST: MethodFilter = MethodFilter::POST;
const GET: MethodFilter = MethodFilter::GET;

const fn named(path: &'static str, api: Api, model: Model) -> Row {
    Row {
        path,
        methods: POST,
        api,
        model,
        usage: &["usage"],
    }
}

const fn nameless(path: &'static str, api: Api, methods: MethodFilter) -> Row {
    Row {
        path,
        methods,
        api,
        model: Model::None,
        usage: &[],
    }
}

/// All of them.
pub(in crate::http) static ROWS: [Row; 18] = [
    named("/v1/images/generations", Api::Images, Model::Optional),
    named("/v1/images/edits", Api::Images, Model::Optional),
    named("/v1/images/variations", Api::Images, Model::Optional),
    named("/v1/audio/speech", Api::Audio, Model::Required),
    named("/v1/audio/transcriptions", Api::Audio, Model::Required),
    named("/v1/audio/translations", Api::Audio, Model::Required),
    named("/v1/moderations", Api::Moderations, Model::Optional),
    Row {
        // Jina's has `usage`, Cohere's `meta.billed_units`.
        usage: &["usage", "meta"],
        ..named("/v1/rerank", Api::Rerank, Model::Required)
    },
    nameless("/v1/files", Api::Files, GET.or(POST)),
    nameless("/v1/files/{id}", Api::Files, GET.or(MethodFilter::DELETE)),
    nameless("/v1/files/{id}/content", Api::Files, GET),
    nameless("/v1/uploads", Api::Files, POST),
    nameless("/v1/uploads/{id}/parts", Api::Files, POST),
    nameless("/v1/uploads/{id}/complete", Api::Files, POST),
    nameless("/v1/uploads/{id}/cancel", Api::Files, POST),
    Row {
        model: Model::InFile,
        ..nameless("/v1/batches", Api::Batches, GET.or(POST))
    },
    nameless("/v1/batches/{id}", Api::Batches, GET),
    nameless("/v1/batches/{id}/cancel", Api::Batches, POST),
];
