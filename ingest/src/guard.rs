//! Keeps web pages out of a server that has no credentials: only this machine, under a loopback name, may reach it.
//!
//! A page in the browser of this machine can send requests to a loopback port. It cannot choose the headers that a browser
//! sets itself: `Host` (another site's name that resolves to the loopback address, known as DNS rebinding) and `Origin`
//! (sent with everything a page may write with, WebSockets included). Both are checked, for every route.

use axum::extract::Request;
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::{DoorError, shortened};

/// Middleware for `axum::middleware::from_fn`: answers 403 unless `Host` is a loopback name and `Origin`, if there is one, is
/// this server's own.
pub async fn loopback_guard(request: Request, next: Next) -> Response {
    match check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Checks `Host` (or the authority of the address) and `Origin`.
///
/// # Errors
/// [`DoorError::Host`] and [`DoorError::Origin`].
pub fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), DoorError> {
    let mut port = None;
    let named = headers.get_all(header::HOST).iter().map(|host| host.as_bytes());
    let mut any = false;
    for authority in named.chain(uri.authority().map(|authority| authority.as_str().as_bytes())) {
        let refused = || DoorError::Host { given: shortened(authority) };
        let own = str::from_utf8(authority).ok().and_then(loopback_port).ok_or_else(refused)?;
        if port.is_some_and(|port| port != own) {
            return Err(refused());
        }
        port = Some(own);
        any = true;
    }
    if !any {
        return Err(DoorError::Host { given: "(none)".into() });
    }
    for origin in headers.get_all(header::ORIGIN) {
        let authority = str::from_utf8(origin.as_bytes()).ok().and_then(|o| Some((o.split_once("://")?, o)));
        let same = authority.and_then(|((scheme, authority), _)| match (scheme, loopback_port(authority)?) {
            ("http", own) => Some(own.or(Some(80))),
            ("https", own) => Some(own.or(Some(443))),
            _ => None,
        });
        // A host without a port is at its scheme's.
        let here = port.flatten();
        if !same.is_some_and(|own| own == here || (here.is_none() && matches!(own, Some(80 | 443)))) {
            return Err(DoorError::Origin { given: shortened(origin.as_bytes()) });
        }
    }
    Ok(())
}

/// The port of `host[:port]` when the host is `localhost`, 127.0.0.0/8 or `[::1]`; `None` for any other host.
#[allow(clippy::option_option)]
fn loopback_port(authority: &str) -> Option<Option<u16>> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            (address.parse::<std::net::Ipv6Addr>().ok()?.is_loopback(), after)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(end);
            let address = host.parse::<std::net::Ipv4Addr>().is_ok_and(|a| a.is_loopback());
            (address || host.eq_ignore_ascii_case("localhost"), port)
        }
    };
    if !host {
        return None;
    }
    match port.strip_prefix(':') {
        None => port.is_empty().then_some(None),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().map(Some),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn checked(uri: &str, headers: &[(header::HeaderName, &str)]) -> Result<(), &'static str> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        check(&uri.parse().unwrap(), &headers).map_err(|error| error.code())
    }

    fn host(host: &str) -> Result<(), &'static str> {
        checked("/", &[(header::HOST, host)])
    }

    fn origin(host: &str, origin: &str) -> Result<(), &'static str> {
        checked("/", &[(header::HOST, host), (header::ORIGIN, origin)])
    }

    #[test]
    fn loopback_names_pass_with_any_port() {
        for name in ["localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1:8080", "127.9.8.7", "[::1]:8080", "[::1]"] {
            assert_eq!(host(name), Ok(()), "{name}");
        }
        assert_eq!(checked("http://127.0.0.1:8080/v1/sql", &[]), Ok(()), "HTTP/2 names the host in the address");
    }

    #[test]
    fn every_other_host_is_refused() {
        for name in [
            "example.com",
            "example.com:8080",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::ffff:127.0.0.1]",
            "",
            "localhost:",
            "localhost:x",
            "localhost:80:80",
            "localhost@example.com",
            "127.1",
            "[::1]x",
        ] {
            assert_eq!(host(name), Err("host_not_loopback"), "{name}");
        }
        assert_eq!(checked("/", &[]), Err("host_not_loopback"));
        assert_eq!(checked("http://example.com/", &[(header::HOST, "localhost")]), Err("host_not_loopback"));
        let two = [(header::HOST, "localhost:1"), (header::HOST, "example.com")];
        assert_eq!(checked("/", &two), Err("host_not_loopback"));
    }

    #[test]
    fn the_servers_own_pages_pass_and_no_others() {
        for own in ["http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080", "https://localhost:8080"] {
            assert_eq!(origin("127.0.0.1:8080", own), Ok(()), "{own}");
        }
        assert_eq!(origin("localhost", "http://localhost"), Ok(()));
        for other in [
            "https://example.com",
            "http://localhost:3000",
            "http://localhost",
            "null",
            "file://",
            "",
            "http://localhost:8080.evil",
        ] {
            assert_eq!(origin("localhost:8080", other), Err("origin_foreign"), "{other}");
        }
        let two = [(header::HOST, "localhost:1"), (header::ORIGIN, "http://localhost:1"), (header::ORIGIN, "http://evil")];
        assert_eq!(checked("/", &two), Err("origin_foreign"));
    }
}
