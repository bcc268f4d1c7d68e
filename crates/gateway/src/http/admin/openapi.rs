//! The description of the API for operators (`OpenAPI` 3.1), made of the table of its routes.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::read::Shape;
use super::route::Route;
use super::table::routes;

/// An error (RFC 9457).
#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "it says what errors look like, which are written elsewhere"
)]
struct Problem {
    /// `urn:everstream:error:` and the code.
    r#type: String,
    /// The code in words.
    title: String,
    /// The status.
    status: u16,
    /// What was wrong, where, and what to do.
    detail: String,
    /// Which error, for programs.
    code: String,
    /// The field, header or parameter at fault.
    #[schemars(extend("type" = "string"))]
    param: Option<String>,
    /// The stream it is about.
    #[schemars(extend("type" = "string"))]
    stream: Option<String>,
}

/// The description.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let problem = schemas.subschema_for::<Problem>();
    let mut paths = Map::new();
    for route in routes() {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        let method = route.method.as_str().to_ascii_lowercase();
        operations[method] = operation(&route, &mut schemas);
    }
    let definitions = schemas.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Everstream, for operators",
            "description": "Keys, projects, budgets, usage, streams and upstreams, on a listener of \
                            their own. Times are milliseconds since 1970, amounts of money dollars.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8081"}],
        "security": [{"operator": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"operator": {"type": "http", "scheme": "bearer"}},
            "responses": {"Problem": {
                "description": "It was not done. The statuses are those of docs/api.md.",
                "content": {"application/problem+json": {"schema": problem}},
            }},
            "schemas": definitions,
        },
    })
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = route.path.split('/').filter_map(in_path).collect();
    let query = (route.query)();
    parameters.extend(
        query
            .fields()
            .map(|(name, schema)| in_query(&query, name, schema)),
    );
    let media = (route.media)(schemas).into_iter();
    let content: Map<String, Value> = media
        .map(|(kind, schema)| (kind.to_owned(), json!({"schema": schema})))
        .collect();
    let mut answer = json!({"description": "It was done."});
    if !content.is_empty() {
        answer["content"] = content.into();
    }
    let mut operation = json!({
        "operationId": id_of(route),
        "summary": route.about,
        "responses": {
            route.status.to_string(): answer,
            "default": {"$ref": "#/components/responses/Problem"},
        },
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let body = (route.body)();
    if body.fields().next().is_some() {
        operation["requestBody"] = json!({
            "required": body.fields().any(|(name, _)| body.needs(name)),
            "content": {"application/json": {"schema": closed(body)}},
        });
    }
    operation
}

fn in_path(segment: &str) -> Option<Value> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    Some(json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
}

fn in_query(query: &Shape, name: &str, schema: &Value) -> Value {
    let mut schema = schema.clone();
    // What is absent is not there, as a query has no null.
    if let Some([kind, Value::String(null)]) = schema["type"].as_array().map(Vec::as_slice)
        && null == "null"
    {
        schema["type"] = kind.clone();
    }
    let about = schema
        .as_object_mut()
        .and_then(|schema| schema.remove("description"));
    let mut parameter = json!({
        "name": name,
        "in": "query",
        "required": query.needs(name),
        "schema": schema,
    });
    if let Some(about) = about {
        parameter["description"] = about;
    }
    parameter
}

/// The schema of a body, of which all fields are known.
fn closed(body: Shape) -> Value {
    let mut schema = body.0.to_value();
    schema["additionalProperties"] = false.into();
    schema
}

/// `postAdminKeysRotate`
fn id_of(route: &Route) -> String {
    let words = route.path.split(['/', '.', '{', '}']);
    let mut id = route.method.as_str().to_ascii_lowercase();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        id.extend([&first.to_ascii_uppercase(), rest]);
    }
    id
}
