//! The URI-reference of RFC 3986, which CloudEvents requires of `source`.

use std::net::Ipv6Addr;

/// Whether the text is a URI-reference (RFC 3986, section 4.1). The empty text is one.
pub fn is_uri_reference(text: &str) -> bool {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    // A colon before any slash ends a scheme: the first segment of a relative reference has none.
    let rest = match text.split_once(':') {
        Some((scheme, rest)) if !scheme.contains('/') => {
            if !is_scheme(scheme) {
                return false;
            }
            rest
        }
        _ => text,
    };
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    is_authority(authority) && consists_of(path, b":@/") && consists_of(query, b":@/?") && consists_of(fragment, b":@/?")
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn is_authority(text: &str) -> bool {
    let (user, place) = text.split_once('@').unwrap_or(("", text));
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((literal, port)) => (is_ip_literal(literal), port),
        None => {
            let (name, port) = place.split_at(place.find(':').unwrap_or(place.len()));
            (consists_of(name, b""), port)
        }
    };
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    consists_of(user, b":") && host && port
}

fn is_ip_literal(text: &str) -> bool {
    let Some(future) = text.strip_prefix(['v', 'V']) else { return text.parse::<Ipv6Addr>().is_ok() };
    future.split_once('.').is_some_and(|(version, address)| {
        !version.is_empty()
            && version.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !address.is_empty()
            && !address.contains('%')
            && consists_of(address, b":")
    })
}

/// Unreserved characters, percent-encoded bytes, sub-delimiters, and those of `also`.
fn consists_of(text: &str, also: &[u8]) -> bool {
    let hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => hex(bytes.next()) && hex(bytes.next()),
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte) || also.contains(&byte),
        };
        if !fits {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rfc_3986_allows_is_a_uri_reference() {
        for text in [
            "",
            "urn:flywheel:inference",
            "https://user:pass@example.org:8080/a/b;c=1?q=/?#frag/?",
            "http://[2001:db8::7]:80/",
            "http://[v1.fe:x]/",
            "//example.org",
            "/sensors/1",
            "../up",
            "a/b:c",
            "mailto:a@example.org",
            "tag:example.org,2026:x",
            "%41%4a",
            "?q",
            "#f",
            "http://",
            "file:///etc/x",
            "a//b",
        ] {
            assert!(is_uri_reference(text), "{text}");
        }
    }

    #[test]
    fn what_rfc_3986_forbids_is_none() {
        for text in [
            "a b",
            "é",
            "%4",
            "%zz",
            "%",
            "1a:b",
            ":b",
            "a^b",
            "a|b",
            "a\\b",
            "<a>",
            "\"",
            "{x}",
            "`",
            "a#b#c",
            "http://[::1",
            "http://[::zz]/",
            "http://a:8x/",
            "http://a@b@c/",
            "[x]",
            "/a[b]",
            "a\u{7f}",
        ] {
            assert!(!is_uri_reference(text), "{text}");
        }
    }
}
