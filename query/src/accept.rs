//! Which of the offered media types an `Accept` header asks for.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// The offer that the headers like best; the first where they do not care. `None` if they take none of them.
///
/// A range that names a media type counts for it rather than one with a wildcard; among equals the header's order decides, and then
/// that of the offers.
pub fn negotiate<T: Copy>(headers: &HeaderMap, offers: &[(&str, T)]) -> Option<T> {
    let ranges: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    best(&ranges.join(","), offers)
}

fn best<T: Copy>(accept: &str, offers: &[(&str, T)]) -> Option<T> {
    if accept.trim().is_empty() {
        return offers.first().map(|(_, offer)| *offer);
    }
    let ranges: Vec<Range> = accept.split(',').filter_map(Range::parse).collect();
    let mut best: Option<(u16, usize, T)> = None;
    for (media_type, offer) in offers {
        let matching = ranges.iter().enumerate().filter_map(|(place, range)| Some((range.fits(media_type)?, place, range)));
        let Some((_, place, range)) = matching.max_by_key(|(closeness, place, _)| (*closeness, std::cmp::Reverse(*place))) else {
            continue;
        };
        let better = best.is_none_or(|(quality, at, _)| (range.quality, at) > (quality, place));
        if range.quality > 0 && better {
            best = Some((range.quality, place, *offer));
        }
    }
    best.map(|(_, _, offer)| offer)
}

/// One element of the header: a type or wildcard, and its quality in thousandths.
struct Range<'a> {
    main: &'a str,
    sub: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    /// `None` for what is no media range: it asks for nothing.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let named = parts.next()?;
        // Old clients of Java send `*`.
        let (main, sub) = if named == "*" { ("*", "*") } else { named.split_once('/')? };
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="))).unwrap_or("1");
        Some(Self { main, sub, quality: quality_of(quality)? })
    }

    /// How closely it names the media type: 0 for `*/*`, 1 for `type/*`, 2 for the type itself; `None` if it does not.
    fn fits(&self, media_type: &str) -> Option<u8> {
        let (main, sub) = media_type.split_once('/')?;
        let main_fits = self.main.eq_ignore_ascii_case(main);
        match (self.main, self.sub) {
            ("*", "*") => Some(0),
            (_, "*") if main_fits => Some(1),
            (_, own) if main_fits && own.eq_ignore_ascii_case(sub) => Some(2),
            _ => None,
        }
    }
}

/// A number from 0 to 1 in thousandths. More decimals than the three of the standard are taken, and a point without a digit before it.
fn quality_of(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let valid = matches!(whole, "" | "0" | "1") && !text.is_empty() && decimals.bytes().all(|b| b.is_ascii_digit());
    let thousandths: String = decimals.chars().chain("000".chars()).take(3).collect();
    let quality = u16::from(whole == "1") * 1000 + thousandths.parse::<u16>().ok().filter(|_| valid)?;
    (quality <= 1000).then_some(quality)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Format;

    #[test]
    fn the_best_liked_format_wins_and_json_is_the_default() {
        for (accept, format) in [
            ("", Some(Format::Json)),
            ("*/*", Some(Format::Json)),
            ("application/*", Some(Format::Json)),
            ("text/*", Some(Format::Csv)),
            ("text/csv", Some(Format::Csv)),
            ("TEXT/CSV; header=present", Some(Format::Csv)),
            ("application/x-ndjson", Some(Format::Ndjson)),
            ("application/vnd.apache.arrow.stream", Some(Format::ArrowStream)),
            ("application/vnd.apache.parquet", Some(Format::Parquet)),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Format::Json)),
            ("text/csv;q=0.5, application/vnd.apache.parquet;q=0.9", Some(Format::Parquet)),
            ("application/json;q=0, */*", Some(Format::Ndjson)),
            ("text/csv, application/json", Some(Format::Csv)),
            ("*/*;q=.5", Some(Format::Json)),
            ("text/csv;q=.2, application/json;q=.12345", Some(Format::Csv)),
            ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", Some(Format::Json)),
            ("application/json;q=1.0000", Some(Format::Json)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("application/json;q=0.0000", None),
            ("application/json;q=1.5", None),
            ("application/json;q=x", None),
            ("nonsense", None),
        ] {
            assert_eq!(best(accept, &Format::ALL.map(|format| (format.media_type(), format))), format, "{accept}");
        }
    }
}
