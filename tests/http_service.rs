//! The example of a service, over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use dctflow::network::{Config, Variant, Weights};
use dctflow::session::Session;
use dctflow::synth::photo;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

#[allow(dead_code)] // its `main`
#[path = "../examples/http_service.rs"]
mod http_service;

fn session() -> Arc<Session> {
    let config = Config { width: 0.05, classes: 7, ..Config::new(Variant::LateConcatRfaThinner) };
    Arc::new(Session::builder(&Weights::random(config, 1).unwrap()).threads(1).max_batch(4).topk(3).build().unwrap())
}

/// Runs `client` beside a service whose queue is given to `work`.
fn serve(
    queue_len: usize,
    work: impl FnOnce(mpsc::Receiver<http_service::Request>) + Send,
    client: impl FnOnce(SocketAddr),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel(queue_len);
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::scope(|scope| {
        // Dropped at the end, and if the client panics.
        let _stop = stop;
        scope.spawn(move || {
            runtime.block_on(async {
                work(receiver);
                let server = axum::serve(listener, http_service::router(sender));
                tokio::select! { _ = server.into_future() => {}, _ = stopped => {} }
            });
        });
        client(address);
    });
}

fn send(address: SocketAddr, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let head =
        format!("POST /classify HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream
}

/// Status, head and JSON of the answer.
fn receive(mut stream: TcpStream) -> (u16, String, Value) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), serde_json::from_str(body).unwrap())
}

#[test]
fn images_are_answered_and_bad_ones_are_the_client_s_fault() {
    let session = session();
    serve(
        64,
        |queue| http_service::start_batches(session, queue),
        |address| {
            let whole = photo(5, 0);
            let cut = &whole[..whole.len() * 9 / 10];
            let pending: Vec<TcpStream> = (0..6).map(|_| send(address, &whole)).collect();
            for stream in pending {
                let (status, head, answer) = receive(stream);
                assert_eq!((status, &answer["status"]), (200, &Value::from("complete")), "{head}");
                assert_eq!(answer["top"].as_array().unwrap().len(), 3);
            }
            let (status, _, answer) = receive(send(address, cut));
            assert_eq!((status, &answer["reason"]), (200, &Value::from("truncated")));
            let (status, _, answer) = receive(send(address, b"text"));
            assert_eq!((status, &answer["reason"]), (415, &Value::from("not-a-jpeg")));
            let (status, _, answer) = receive(send(address, &whole[..100]));
            assert_eq!(status, 422, "{answer}");
        },
    );
}

#[test]
fn a_full_queue_says_when_to_come_again() {
    let mut kept = None;
    let (give, given) = std::sync::mpsc::channel();
    serve(
        1,
        |queue| give.send(queue).unwrap(),
        |address| {
            let mut queue = given.recv().unwrap();
            let waiting = send(address, b"text");
            // Until the first has arrived, nothing is full.
            while queue.is_empty() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let (status, head, _) = receive(send(address, b"text"));
            assert_eq!(status, 503);
            assert!(head.contains("retry-after: 1"), "{head}");
            queue.close();
            drop(queue.try_recv());
            kept = Some(receive(waiting).0);
        },
    );
    assert_eq!(kept, Some(503));
}
