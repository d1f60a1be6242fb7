//! HTTP messages as bytes, so that what was asked and answered can be kept, judged and sent as one piece (RFC 9112, section 2.1: `message/http`).
//!
//! Only the form that is written here is read again: no folded lines, no transfer encodings, the body to the end.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};

/// Which delivery of the gateway's own a request is: the same in every attempt.
pub const DELIVERY: HeaderName = HeaderName::from_static("portcullis-delivery");

/// Writes a request: its method, path and query, headers and body.
#[must_use]
pub fn write_request(request: &Request<Bytes>) -> Bytes {
    let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    write(&format!("{} {target} HTTP/1.1", request.method()), request.headers(), request.body())
}

/// Writes an answer: its status, headers and body.
#[must_use]
pub fn write_response(response: &Response<Bytes>) -> Bytes {
    write(&format!("HTTP/1.1 {}", response.status().as_str()), response.headers(), response.body())
}

/// Reads what [`write_request`] wrote.
///
/// # Errors
///
/// A sentence when it is something else.
pub fn read_request(message: &Bytes) -> Result<Request<Bytes>, String> {
    let (first, headers, body) = read(message)?;
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("the first line is not that of a request".to_owned());
    };
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
    *request.uri_mut() = target.parse::<Uri>().map_err(|error| error.to_string())?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Reads what [`write_response`] wrote.
///
/// # Errors
///
/// A sentence when it is something else.
pub fn read_response(message: &Bytes) -> Result<Response<Bytes>, String> {
    let (first, headers, body) = read(message)?;
    let status = first.strip_prefix("HTTP/1.1 ").ok_or("the first line is not that of an answer")?;
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_bytes(status.as_bytes()).map_err(|error| error.to_string())?;
    *response.headers_mut() = headers;
    Ok(response)
}

fn write(first: &str, headers: &HeaderMap, body: &Bytes) -> Bytes {
    let mut message = BytesMut::with_capacity(body.len() + 512);
    message.put_slice(first.as_bytes());
    message.put_slice(b"\r\n");
    for (name, value) in headers {
        message.put_slice(name.as_str().as_bytes());
        message.put_slice(b": ");
        message.put_slice(value.as_bytes());
        message.put_slice(b"\r\n");
    }
    message.put_slice(b"\r\n");
    message.put_slice(body);
    message.freeze()
}

fn read(message: &Bytes) -> Result<(String, HeaderMap, Bytes), String> {
    const END: &[u8] = b"\r\n\r\n";
    let end = message.windows(END.len()).position(|window| window == END).ok_or("the head has no end")?;
    let body = message.slice(end + END.len()..);
    let head = message.get(..end).unwrap_or_default();
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().and_then(|line| std::str::from_utf8(line).ok()).ok_or("the first line is no text")?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a header has no colon")?;
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name).map_err(|error| error.to_string())?;
        let value = value.strip_prefix(b": ").unwrap_or_default();
        headers.append(name, HeaderValue::from_bytes(value).map_err(|error| error.to_string())?);
    }
    Ok((first.to_owned(), headers, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        for body in ["", "{}", "\r\n\r\n", "a\r\n\r\nb"] {
            let request = Request::post("/run/x?y=%20").header("content-type", "text/plain").header("x", "1: 2");
            let request = request.header("x", "3").header("empty", "").body(Bytes::from(body)).unwrap();
            let read = read_request(&write_request(&request)).unwrap();
            assert_eq!(
                (read.method(), read.uri(), read.headers()),
                (request.method(), request.uri(), request.headers())
            );
            assert_eq!(read.body(), body);
            let response = Response::builder().status(202).header("x", "y").body(Bytes::from(body)).unwrap();
            let read = read_response(&write_response(&response)).unwrap();
            assert_eq!((read.status(), read.headers()), (response.status(), response.headers()));
            assert_eq!(read.body(), body);
        }
    }

    #[test]
    fn what_is_something_else_is_refused() {
        for message in
            ["", "GET / HTTP/1.1", "GET /\r\n\r\n", "GET / x HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nx\r\n\r\n"]
        {
            assert!(read_request(&Bytes::from(message)).is_err(), "{message:?}");
        }
        for message in ["", "HTTP/1.1 20\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 200\r\n x: y\r\n\r\n"] {
            assert!(read_response(&Bytes::from(message)).is_err(), "{message:?}");
        }
    }
}
