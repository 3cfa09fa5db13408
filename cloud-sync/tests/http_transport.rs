//! The transport over real sockets on this machine: what it sends, and how it says that it could not.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use turnstage_cloud_sync::backend::imaging360::{
    Body, HttpRequest, HttpResponse, Method, TransportError, http_transport,
};

/// Serves one connection and gives what it read.
fn serve(act: impl FnOnce(TcpStream) -> Vec<u8> + Send + 'static) -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/key.jpg?X-Amz-Signature=secret", listener.local_addr().expect("its port"));
    let serving = std::thread::spawn(move || act(listener.accept().expect("a client").0));
    (url, serving)
}

/// Reads until `end` of everything was seen.
fn read_until(stream: &mut TcpStream, end: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while !end(&all) {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(length) => all.extend_from_slice(&piece[..length]),
        }
    }
    all
}

fn request(url: &str, body: Body) -> HttpRequest {
    let headers = vec![("content-type", "image/jpeg".to_owned())];
    HttpRequest { method: Method::Put, url: url.to_owned(), headers, body, sent: Arc::default() }
}

fn bytes() -> Body {
    Body::Bytes(b"picture".as_slice().into())
}

async fn send(request: HttpRequest) -> Result<HttpResponse, TransportError> {
    http_transport().send(request).await
}

#[tokio::test]
async fn a_file_is_streamed_with_its_length_and_the_answer_comes_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("picture");
    let content = vec![7; 300_000];
    std::fs::write(&path, &content).unwrap();
    let (url, serving) = serve(|mut stream| {
        let all = read_until(&mut stream, |all| all.len() > 300_000 && all.ends_with(&[7; 9]));
        stream.write_all(b"HTTP/1.1 200 OK\r\nX-Amz-Checksum: abc\r\ncontent-length: 2\r\n\r\nok").unwrap();
        all
    });
    let request = request(&url, Body::File { path, length: 300_000 });
    let sent = Arc::clone(&request.sent);
    let response = send(request).await.unwrap();
    assert_eq!((response.status, response.header("x-amz-checksum")), (200, Some("abc")));
    assert_eq!(&response.body[..], b"ok");
    assert_eq!(sent.load(Ordering::Relaxed), 300_000);
    let all = serving.join().unwrap();
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
    assert!(head.starts_with("put /key.jpg?x-amz-signature=secret http/1.1"), "{head}");
    assert!(head.contains("content-length: 300000") && head.contains("content-type: image/jpeg"), "{head}");
    assert!(!head.contains("transfer-encoding"), "S3 takes no chunks: {head}");
    assert!(all[end + 4..] == content, "the bytes arrived as they are");
}

#[tokio::test]
async fn a_redirect_comes_back_as_it_is() {
    let (url, serving) = serve(|mut stream| {
        let all = read_until(&mut stream, |all| all.ends_with(b"picture"));
        stream
            .write_all(b"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
        all
    });
    assert_eq!(send(request(&url, bytes())).await.unwrap().status, 307);
    serving.join().unwrap();
}

#[tokio::test]
async fn nobody_there_and_a_broken_line_are_told_apart_and_neither_tells_the_secret() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error =
        send(request(&format!("http://{closed}/?X-Amz-Signature=secret"), bytes())).await.unwrap_err();
    assert!(matches!(error, TransportError::Unreachable(_)), "{error:?}");
    assert!(!error.to_string().contains("secret"), "{error}");

    let (url, serving) = serve(|mut stream| read_until(&mut stream, |all| all.len() > 10));
    let error = send(request(&url, bytes())).await.unwrap_err();
    assert!(matches!(error, TransportError::Interrupted(_)), "{error:?}");
    assert!(!error.to_string().contains("secret"), "{error}");
    serving.join().unwrap();
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_for_ever() {
    let (url, serving) = serve(|mut stream| {
        read_until(&mut stream, |all| all.ends_with(b"picture"));
        let begun = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while begun.is_ok() && stream.write_all(&[b'x'; 65_536]).is_ok() {}
        Vec::new()
    });
    let error = send(request(&url, bytes())).await.unwrap_err();
    assert!(matches!(error, TransportError::Interrupted(_)), "{error:?}");
    // The connection ends on this thread, so waiting must not take it.
    tokio::task::spawn_blocking(|| serving.join()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_file_that_is_gone_or_of_another_length_is_nobody_elses_fault() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("picture");
    let body = Body::File { path: path.clone(), length: 9 };
    let nowhere = "http://127.0.0.1:1/";
    let error = send(request(nowhere, body.clone())).await.unwrap_err();
    assert!(matches!(error, TransportError::LocalFile(_)), "{error:?}");
    std::fs::write(&path, b"short").unwrap();
    let error = send(request(nowhere, body)).await.unwrap_err();
    assert!(matches!(error, TransportError::LocalFile(_)), "{error:?}");
}
