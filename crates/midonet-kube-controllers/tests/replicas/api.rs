//! A small API server: objects of any kind with UIDs, versions, labels, finalizers and owners, that can be listed, watched,
//! created, patched, replaced and deleted. What it does, it does as a real one: versions are preconditions, what has finalizers
//! is deleted once it has none, and what belongs to a deleted object is deleted with it. Translations are checked as by their
//! definition.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

/// Collection (`/api/v1/pods`), namespace and name.
pub type Place = (String, String, String);

#[derive(Debug, Default)]
struct State {
    version: u64,
    objects: BTreeMap<Place, Value>,
    history: Vec<(u64, Place, &'static str, Value)>,
    written: Vec<Place>,
    refuses: Option<u16>,
}

#[derive(Debug, Clone)]
pub struct Api {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
    pub address: SocketAddr,
}

type Body = Either<Full<Bytes>, StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

impl Api {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let api = Self { state: Arc::default(), news: Arc::default(), address };
        let serving = api.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    let serve = service_fn(|request| serving.answer(request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), serve)
                        .await;
                });
            }
        });
        api
    }

    /// All requests but watches are answered with this status, or again as they should be.
    pub fn refuse(&self, code: Option<u16>) {
        self.state.lock().unwrap().refuses = code;
    }

    /// Creates an object as a user does.
    pub fn create(&self, collection: &str, object: Value) {
        let (code, answer) = self.post(collection, "", object);
        assert_eq!(code, 201, "{answer}");
    }

    /// Merges this into an object as a user does.
    pub fn merge(&self, collection: &str, namespace: &str, name: &str, part: &Value) {
        let (code, answer) = self.patch(&(collection.into(), namespace.into(), name.into()), part);
        assert_eq!(code, 200, "{answer}");
    }

    pub fn remove(&self, collection: &str, namespace: &str, name: &str) {
        let (code, answer) = self.delete(&(collection.into(), namespace.into(), name.into()), &json!({}));
        assert_eq!(code, 200, "{answer}");
    }

    pub fn list(&self, collection: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        let all = state.objects.iter().filter(|((of, ..), _)| of == collection);
        all.map(|(_, object)| object.clone()).collect()
    }

    /// What was written so far by requests: objects that were created, changed or deleted.
    pub fn written(&self) -> Vec<Place> {
        self.state.lock().unwrap().written.clone()
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let query: BTreeMap<String, String> = head
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.replace("%21", "!").replace("%2F", "/")))
            .collect();
        let Some((collection, namespace, name)) = place(head.uri.path()) else {
            return Ok(status(404, "NotFound", "no such path"));
        };
        if query.contains_key("watch") {
            return Ok(self.watch(&collection, &query));
        }
        if let Some(code) = self.state.lock().unwrap().refuses {
            return Ok(status(code, "Refused", "on purpose"));
        }
        let at = (collection.clone(), namespace.clone(), name.clone());
        let (code, answer) = match head.method {
            Method::GET if name.is_empty() => (200, self.listed(&collection, &query)),
            Method::GET => match self.state.lock().unwrap().objects.get(&at) {
                Some(object) => (200, object.clone()),
                None => failure(404, "NotFound"),
            },
            Method::POST => self.post(&collection, &namespace, body),
            Method::PATCH => self.patch(&at, &body),
            Method::PUT => self.put(&at, body),
            Method::DELETE => self.delete(&at, &body),
            _ => failure(405, "MethodNotAllowed"),
        };
        if head.method != Method::GET && code < 300 {
            let name = answer["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            self.state.lock().unwrap().written.push((collection, namespace, name));
        }
        Ok(response(code, &answer))
    }

    fn listed(&self, collection: &str, query: &BTreeMap<String, String>) -> Value {
        let state = self.state.lock().unwrap();
        let items =
            state.objects.iter().filter(|((of, ..), object)| of == collection && selected(object, query));
        let items: Vec<Value> = items.map(|(_, object)| object.clone()).collect();
        let metadata = json!({"resourceVersion": state.version.to_string()});
        json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items})
    }

    fn watch(&self, collection: &str, query: &BTreeMap<String, String>) -> Response<Body> {
        let (sender, receiver) = mpsc::channel::<Bytes>(64);
        let mut reached = query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
        let (api, collection, query) = (self.clone(), collection.to_owned(), query.clone());
        tokio::spawn(async move {
            loop {
                let news = api.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                let events: Vec<(u64, String)> = {
                    let state = api.state.lock().unwrap();
                    let new = state.history.iter().filter(|(version, (of, ..), _, object)| {
                        *version > reached && *of == collection && selected(object, &query)
                    });
                    let line =
                        |kind: &str, object: &Value| json!({"type": kind, "object": object}).to_string();
                    new.map(|(version, _, kind, object)| (*version, line(kind, object) + "\n")).collect()
                };
                for (version, line) in events {
                    reached = version;
                    if sender.send(Bytes::from(line)).await.is_err() {
                        return;
                    }
                }
                news.await;
            }
        });
        let head = Response::builder().header("content-type", "application/json");
        let lines = stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|line| (Ok(Frame::data(line)), receiver))
        });
        head.body(Either::Right(StreamBody::new(lines.boxed()))).unwrap()
    }

    fn post(&self, collection: &str, namespace: &str, mut object: Value) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        let number = state.version + 1;
        let metadata = object["metadata"].as_object_mut().expect("metadata");
        if !metadata.contains_key("name") {
            let prefix = metadata.get("generateName").and_then(Value::as_str).unwrap_or_default().to_owned();
            metadata.insert("name".into(), format!("{prefix}{number}").into());
        }
        let name = metadata["name"].as_str().unwrap().to_owned();
        let own = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default().to_owned();
        let namespace = if namespace.is_empty() { own } else { namespace.to_owned() };
        metadata.insert("uid".into(), format!("00000000-0000-4000-8000-{number:012}").into());
        if let Err(why) = valid(collection, &object) {
            return failure(422, &why);
        }
        let place = (collection.to_owned(), namespace, name);
        if state.objects.contains_key(&place) {
            return failure(409, "AlreadyExists");
        }
        (201, self.store(&mut state, &place, "ADDED", object))
    }

    fn patch(&self, place: &Place, patch: &Value) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        let Some(old) = state.objects.get(place).cloned() else { return failure(404, "NotFound") };
        if let Some(failed) = precondition(&old, &patch["metadata"]) {
            return failed;
        }
        let mut new = old.clone();
        merge(&mut new, patch);
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if let Err(why) = valid(&place.0, &new) {
            return failure(422, &why);
        }
        if new == old {
            return (200, old);
        }
        (200, self.update(&mut state, place, new))
    }

    fn put(&self, place: &Place, new: Value) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        let Some(old) = state.objects.get(place).cloned() else { return failure(404, "NotFound") };
        if let Some(failed) = precondition(&old, &new["metadata"]) {
            return failed;
        }
        let mut new = new;
        new["metadata"]["uid"] = old["metadata"]["uid"].clone();
        (200, self.update(&mut state, place, new))
    }

    /// What is being deleted and has no finalizers any more is gone.
    fn update(&self, state: &mut State, place: &Place, new: Value) -> Value {
        let metadata = &new["metadata"];
        let finalizers = metadata["finalizers"].as_array().map_or(0, Vec::len);
        if metadata["deletionTimestamp"].is_string() && finalizers == 0 {
            state.objects.remove(place);
            return self.store(state, place, "DELETED", new);
        }
        self.store(state, place, "MODIFIED", new)
    }

    fn delete(&self, place: &Place, options: &Value) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        let Some(mut object) = state.objects.get(place).cloned() else { return failure(404, "NotFound") };
        if let Some(failed) = precondition(&object, &options["preconditions"]) {
            return failed;
        }
        if object["metadata"]["deletionTimestamp"].is_string() {
            return (200, object);
        }
        let uid = object["metadata"]["uid"].clone();
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let answer = self.update(&mut state, place, object);
        drop(state);
        // What belongs to it goes with it.
        let owned = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
            owners.iter().any(|owner| owner["uid"] == uid)
        };
        let dependents: Vec<Place> = {
            let state = self.state.lock().unwrap();
            state.objects.iter().filter(|(_, object)| owned(object)).map(|(place, _)| place.clone()).collect()
        };
        for dependent in dependents {
            self.delete(&dependent, &json!({}));
        }
        (200, answer)
    }

    fn store(&self, state: &mut State, place: &Place, kind: &'static str, mut object: Value) -> Value {
        state.version += 1;
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        if kind != "DELETED" {
            state.objects.insert(place.clone(), object.clone());
        }
        state.history.push((state.version, place.clone(), kind, object.clone()));
        self.news.notify_waiters();
        object
    }
}

/// `/api/v1/namespaces/a/pods/b` and the like.
fn place(path: &str) -> Option<Place> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let prefix = match parts.first()? {
        &"api" => 2,
        _ => 3,
    };
    let (prefix, rest) = parts.split_at_checked(prefix)?;
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        rest => ("", rest),
    };
    let collection = format!("/{}/{}", prefix.join("/"), rest.first()?);
    Some((collection, namespace.to_owned(), rest.get(1).copied().unwrap_or_default().to_owned()))
}

fn selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let Some(selector) = query.get("labelSelector") else { return true };
    let label = selector.strip_prefix('!').expect("only absence is selected by");
    object["metadata"]["labels"].get(label).is_none()
}

fn precondition(object: &Value, wanted: &Value) -> Option<(u16, Value)> {
    let differs = |field: &str| {
        let wanted = wanted.get(field)?;
        (*wanted != object["metadata"][field]).then(|| failure(409, "Conflict"))
    };
    differs("uid").or_else(|| differs("resourceVersion"))
}

/// RFC 7386.
fn merge(into: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else { return *into = patch.clone() };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let object = into.as_object_mut().unwrap();
    for (name, value) in fields {
        if value.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name).or_insert(Value::Null), value);
        }
    }
}

fn valid(collection: &str, object: &Value) -> Result<(), String> {
    if !collection.ends_with("/translations") {
        return Ok(());
    }
    let resources = object["resources"].as_array().ok_or("resources is no list")?;
    for resource in resources {
        let text = |field: &str| resource[field].as_str().ok_or(format!("{field} is no text"));
        let (kind, parent, body) = (text("kind")?, text("parent")?, text("body")?);
        let is_kind = kind.starts_with(|c: char| c.is_ascii_uppercase());
        let is_parent = parent.is_empty() || uuid::Uuid::try_parse(parent).is_ok();
        if !is_kind || !is_parent || !body.starts_with('{') || !body.ends_with('}') {
            return Err(format!("{resource} is no resource"));
        }
    }
    Ok(())
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": format!("the server's words on {code}"), "metadata": {},
    });
    (code, status)
}

fn status(code: u16, reason: &str, _: &str) -> Response<Body> {
    response(code, &failure(code, reason).1)
}

fn response(code: u16, body: &Value) -> Response<Body> {
    let head = Response::builder().status(code).header("content-type", "application/json");
    head.body(Either::Left(Full::from(body.to_string()))).unwrap()
}
