//! A classifier behind HTTP: an image in the body of a POST, JSON out.
//!
//! `cargo run --release --example http_service -- WEIGHTS [ADDRESS]`, then
//! `curl --data-binary @photo.jpg localhost:8080/classify`
//!
//! Requests are batched without a timer: what has arrived while every slot of the session was taken becomes the next batch. Alone, an image
//! waits for nobody; under load, batches grow by themselves. When too many wait, the answer is 503 with `Retry-After`.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use dctflow::ImageError;
use dctflow::jpeg::{Limits, Status};
use dctflow::network::Weights;
use dctflow::session::{Batch, Outcome, Session};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait, in batches.
const WAITING_BATCHES: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, address @ ..] = arguments.as_slice() else {
        return Err("usage: http_service WEIGHTS [ADDRESS]".into());
    };
    let session = Session::builder(&Weights::load(weights)?).build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let address = address.first().map_or("127.0.0.1:8080", String::as_str);
        let listener = TcpListener::bind(address).await?;
        eprintln!("listening on {}", listener.local_addr()?);
        let (sender, receiver) = mpsc::channel(WAITING_BATCHES * session.max_batch());
        start_batches(Arc::new(session), receiver);
        axum::serve(listener, router(sender)).await?;
        Ok(())
    })
}

/// An image that waits, and who waits for it.
pub struct Request {
    bytes: Bytes,
    answer: oneshot::Sender<dctflow::Result<Outcome>>,
}

/// The service; its requests go to `queue`.
pub fn router(queue: mpsc::Sender<Request>) -> Router {
    let limit = usize::try_from(Limits::default().max_file_bytes).unwrap_or(usize::MAX);
    Router::new().route("/classify", post(classify)).layer(DefaultBodyLimit::max(limit)).with_state(queue)
}

/// Starts the thread that makes batches of requests. It ends when the queue does.
pub fn start_batches(session: Arc<Session>, mut queue: mpsc::Receiver<Request>) {
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        while let Some(first) = queue.blocking_recv() {
            let (mut batch, mut answers) = (Batch::new(), Vec::new());
            let mut next = Some(first);
            while let Some(Request { bytes, answer }) = next {
                batch.push(&bytes[..], None, 0);
                answers.push(answer);
                next = (answers.len() < session.max_batch()).then(|| queue.try_recv().ok()).flatten();
            }
            // Waits while every slot is taken; meanwhile the queue fills.
            let ticket = session.submit(batch);
            runtime.spawn(async move { hand_out(ticket.await, answers) });
        }
    });
}

/// Gives each request its outcome. Who has hung up gets none.
fn hand_out(outcomes: dctflow::Result<Vec<Outcome>>, answers: Vec<oneshot::Sender<dctflow::Result<Outcome>>>) {
    match outcomes {
        Ok(outcomes) => {
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                let _ = answer.send(Ok(outcome));
            }
        }
        Err(error) => {
            for answer in answers {
                let _ = answer.send(Err(dctflow::Error::new(error.kind(), error.to_string())));
            }
        }
    }
}

async fn classify(State(queue): State<mpsc::Sender<Request>>, bytes: Bytes) -> Response {
    let (answer, answered) = oneshot::channel();
    if queue.try_send(Request { bytes, answer }).is_err() {
        return busy();
    }
    match answered.await {
        Ok(Ok(outcome)) => respond(&outcome),
        Ok(Err(error)) => json_response(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error.to_string() })),
        Err(_) => busy(),
    }
}

fn busy() -> Response {
    let body = json!({ "error": "too many images wait: try again" });
    ([(header::RETRY_AFTER, "1")], json_response(StatusCode::SERVICE_UNAVAILABLE, &body)).into_response()
}

/// Partial images have classes and a reason.
fn respond(outcome: &Outcome) -> Response {
    let reason = outcome.reason.as_ref();
    let mut body = json!({
        "status": outcome.status.name(),
        "reason": reason.map(ImageError::code),
        "message": reason.map(ToString::to_string),
    });
    if outcome.status == Status::Failed {
        return json_response(reason.map_or(StatusCode::INTERNAL_SERVER_ERROR, status_code), &body);
    }
    body["top"] = outcome.top.iter().map(|top| json!({ "class": top.class, "score": top.score })).collect();
    json_response(StatusCode::OK, &body)
}

/// Whose fault it is.
fn status_code(reason: &ImageError) -> StatusCode {
    match reason {
        ImageError::NotJpeg { .. } | ImageError::Unsupported { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ImageError::OverLimit { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        ImageError::NonFiniteLogit | ImageError::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
