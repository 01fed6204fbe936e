//! `tributary da cost`: what publishing costs.

mod bill;
mod projection;

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tributary_schemas::limits::EVENT_PROTOBUF_MAX;

use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::wire::{self, Record};
use bill::Bill;
use projection::{Beyond, Day, Limits, Stream};

/// No event has more, not even before compression.
const EVENT_BYTES_MAX: i64 = EVENT_PROTOBUF_MAX as i64;

/// Arguments of `da cost`.
#[derive(Args)]
pub struct Cost {
    #[command(flatten)]
    data: crate::cli::DataArguments,
    /// What a day costs with so many events a second, such as 250 or 0.5, instead of those of the last 24 hours.
    #[arg(long, value_name = "EVENTS_PER_S", requires = "bytes", value_parser = parse_rate)]
    rate: Option<f64>,
    /// How many bytes an event has in a sealed batch, which is compressed; no event has more than 409600.
    #[arg(long, value_name = "BYTES_PER_EVENT", requires = "rate", value_parser = clap::value_parser!(u32).range(1..=EVENT_BYTES_MAX))]
    bytes: Option<u32>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What it prints. Amounts are decimal strings of wei.
#[derive(Debug, Serialize)]
struct Report {
    /// The configured price.
    price_wei_per_symbol: u64,
    /// What is recorded of the last 24 hours; absent where there is no deployment.
    recorded: Option<Recorded>,
    /// What a day costs; absent where nothing says how much there is to publish.
    day: Option<Projected>,
}

#[derive(Debug, Serialize)]
struct Recorded {
    /// From when on.
    since: String,
    /// In so many seconds all of it was published: fewer than 86,400 if the deployment is younger.
    seconds: u64,
    #[serde(flatten)]
    bill: Bill,
    /// How much of what is billed is payload, from 0 to 1.
    fill: f64,
    wei: String,
    /// What is billed beyond that, for certificates that no record has.
    in_vain_wei: String,
    /// What may be billed beyond both, for attempts without a certificate.
    possible_wei: String,
}

#[derive(Debug, Serialize)]
struct Projected {
    /// Where the events are from: `recorded` or `rate`.
    of: &'static str,
    partitions: u32,
    #[serde(flatten)]
    day: Day,
    /// As above.
    fill: f64,
    wei: String,
}

impl Cost {
    /// Reads what is recorded, where there is a deployment, and computes.
    pub async fn run(self) -> Outcome {
        let config = self.data.load()?;
        let record = match wire::found_genesis(&config).await? {
            Some(_) => Some(Record::open_read_only(&config).await?),
            None if self.rate.is_some() => None,
            None => wire::existing_genesis(&config).await.map(|_| None)?,
        };
        let bill = match &record {
            Some(record) => {
                Some(bill::of_the_last_day(record).await.map_err(|e| Failure::failed("reading what is recorded", e))?)
            }
            None => None,
        };
        let partitions = match &record {
            Some(record) => record.journal.genesis().partitions,
            None => wire::partitions_of_new(&config)?,
        };
        let day = self.day(partitions.get(), &config, bill.as_ref())?;
        let report = report(&config, partitions.get(), bill, day);
        if self.json {
            return crate::cli::print_json(&report);
        }
        print!("{}", render(&report, &config));
        Ok(())
    }

    /// A day at the rate that is named, or as the last was, and which of the two.
    fn day(&self, partitions: u32, config: &Config, bill: Option<&Bill>) -> Result<(&'static str, Option<Day>), Failure> {
        let of_streams = |streams: &[(Stream, u32)]| projection::day(streams, &limits(config));
        match self.rate.zip(self.bytes) {
            Some((rate, bytes)) => {
                let stream = Stream::of_rate(rate / f64::from(partitions), bytes, &config.seal);
                let day = stream.and_then(|stream| of_streams(&[(stream, partitions)]));
                let refused = |beyond: Beyond| {
                    let what = format!("--rate {rate} and --bytes {bytes} are beyond what can be computed: {beyond}");
                    Failure::Usage(format!("{what}. There are {partitions} partitions; name a lower rate"))
                };
                Ok(("rate", day.map_err(refused)?))
            }
            None => {
                let day = of_streams(&bill.map(Bill::streams).unwrap_or_default());
                Ok(("recorded", day.map_err(|beyond| Failure::failed("a day like the last 24 hours", beyond))?))
            }
        }
    }
}

fn report(config: &Config, partitions: u32, bill: Option<Bill>, (of, day): (&'static str, Option<Day>)) -> Report {
    let price = config.da.price_wei_per_symbol;
    let recorded = bill.map(|bill| Recorded {
        since: bill.since.to_string(),
        seconds: bill.span.as_secs(),
        fill: fill(bill.payload_bytes, bill.symbols_billed),
        wei: wei(bill.symbols_billed, price),
        in_vain_wei: wei(bill.symbols_in_vain, price),
        possible_wei: wei(bill.symbols_possibly_billed, price),
        bill,
    });
    let day = day.map(|day| Projected {
        of,
        partitions,
        fill: fill(day.payload_bytes, day.symbols_billed),
        wei: wei(day.symbols_billed, price),
        day,
    });
    Report { price_wei_per_symbol: price, recorded, day }
}

fn limits(config: &Config) -> Limits {
    Limits {
        payload_bytes_max: usize::try_from(config.da.blob_bytes_max).unwrap_or(usize::MAX),
        age_max: Duration::from_millis(config.da.blob_age_ms),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok().filter(|rate: &f64| rate.is_finite() && (0.000_1..=1e9).contains(rate));
    rate.ok_or_else(|| format!("`{text}` is no number of events a second, such as 250 or 0.5"))
}

fn wei(symbols: u64, price: u64) -> String {
    (u128::from(symbols) * u128::from(price)).to_string()
}

/// The part of the symbols that payload fills. A ratio for people, nothing is computed from it.
#[expect(clippy::cast_precision_loss, reason = "a ratio with three digits")]
fn fill(payload_bytes: u64, symbols: u64) -> f64 {
    match symbols {
        0 => 0.0,
        _ => (payload_bytes as f64 / (symbols as f64 * 31.0) * 1000.0).round() / 1000.0,
    }
}

/// An amount of wei in its largest unit, exactly.
fn ether(wei: &str) -> String {
    let padded = format!("{wei:0>19}");
    let (whole, fraction) = padded.split_at(padded.len() - 18);
    let text = format!("{whole}.{fraction}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn render(report: &Report, config: &Config) -> String {
    let mut text = format!("a symbol costs {} wei (`da.price_wei_per_symbol`)\n", report.price_wei_per_symbol);
    let percent = |fill: f64| format!("{:.1} %", fill * 100.0);
    if let Some(Recorded { since, bill, fill, wei, in_vain_wei, possible_wei, .. }) = &report.recorded {
        text += &format!(
            "the last 24 hours, since {since}\n  {} blobs of {} batches and {} pages of manifests: {} bytes in {} billed symbols, {} \
             full\n  {wei} wei = {} ETH\n",
            bill.blobs,
            bill.batches,
            bill.manifest_pages,
            bill.payload_bytes,
            bill.symbols_billed,
            percent(*fill),
            ether(wei)
        );
        if bill.certificates_in_vain > 0 {
            let (certificates, symbols) = (bill.certificates_in_vain, bill.symbols_in_vain);
            text += &format!(
                "  {certificates} certificates are in no record, and billed in vain beyond that: {symbols} symbols, {in_vain_wei} wei = {} \
                 ETH\n",
                ether(in_vain_wei)
            );
        }
        if bill.attempts_possibly_billed > 0 {
            let (attempts, symbols) = (bill.attempts_possibly_billed, bill.symbols_possibly_billed);
            text += &format!(
                "  {attempts} attempts without a certificate may be billed too: {symbols} symbols, {possible_wei} wei\n"
            );
        }
        if bill.unbilled > 0 {
            text += &format!("  {} blobs and pages were published by the local backend, which bills nothing\n", bill.unbilled);
        }
    }
    match &report.day {
        Some(Projected { of, partitions, day, fill, wei }) => {
            let seconds = report.recorded.as_ref().map_or(0, |recorded| recorded.seconds);
            let of = if *of == "rate" { "at this rate".to_owned() } else { format!("like the last {seconds} s") };
            text += &format!(
                "a day {of}, on EigenDA from {partitions} partitions, blobs of at most {} bytes after {} ms\n  {} blobs, {} bytes in \
                 {} billed symbols, {} full\n  {wei} wei = {} ETH\n",
                config.da.blob_bytes_max,
                config.da.blob_age_ms,
                day.blobs,
                day.payload_bytes,
                day.symbols_billed,
                percent(*fill),
                ether(wei)
            );
        }
        None => text += "nothing was published, so nothing says what a day costs: name --rate and --bytes\n",
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn amounts_are_exact_in_either_unit() {
        assert_eq!(wei(4096, 447_000_000), "1830912000000");
        assert_eq!(ether("1830912000000"), "0.000001830912");
        assert_eq!(ether("1000000000000000000"), "1");
        assert_eq!(ether("12500000000000000000"), "12.5");
        assert_eq!(ether("0"), "0");
        assert_eq!(wei(u64::MAX, u64::MAX), "340282366920938463426481119284349108225");
    }

    #[test]
    fn a_full_blob_is_as_good_as_full() {
        assert!((fill(4095 * 31, 4096) - 1.0).abs() < 0.001);
        assert!(fill(0, 0).abs() < f64::EPSILON);
        assert!(parse_rate("0.5").is_ok() && parse_rate("-1").is_err() && parse_rate("inf").is_err() && parse_rate("x").is_err());
    }

    #[test]
    fn what_a_day_costs_at_a_rate_follows_from_the_settings() {
        let mut config = Config::default();
        let cost = Cost { data: arguments(), rate: Some(1000.0), bytes: Some(200), json: true };
        let day = |config: &Config| report(config, 4, None, cost.day(4, config, None).unwrap()).day.unwrap();
        let usual = day(&config);
        // A blob of each partition in each two seconds and the one that its first batch takes to fill; all are the smallest that is billed.
        // Both are rounded down to whole ones in each partition.
        assert!(usual.day.symbols_billed.abs_diff(usual.day.blobs * 4096) < 4 * 4096, "{usual:?}");
        assert!((100_000..180_000).contains(&usual.day.blobs), "{usual:?}");
        config.da.blob_age_ms = 60_000;
        let patient = day(&config);
        assert!(patient.day.symbols_billed < usual.day.symbols_billed && patient.fill > usual.fill, "{patient:?} {usual:?}");
        assert_eq!(patient.wei, wei(patient.day.symbols_billed, 447_000_000));
        let text = render(&report(&config, 4, None, cost.day(4, &config, None).unwrap()), &config);
        assert!(text.contains(&patient.wei) && text.contains("at this rate"), "{text}");
    }

    #[test]
    fn arguments_beyond_what_can_be_computed_are_refused_by_name_with_the_exit_code_of_wrong_usage() {
        let parse = |bytes: &str| {
            let arguments = ["cost", "--rate", "1e9", "--bytes", bytes];
            let cost = <Cost as Args>::augment_args(clap::Command::new("cost")).try_get_matches_from(arguments);
            cost.map(|matches| <Cost as clap::FromArgMatches>::from_arg_matches(&matches).unwrap())
        };
        for bytes in ["4294967295", "409601", "0"] {
            let refused = parse(bytes).err().unwrap();
            assert!(refused.to_string().contains("--bytes") && refused.exit_code() == 2, "{refused}");
        }
        let largest = parse("409600").unwrap();
        let refused = largest.day(4, &Config::default(), None).unwrap_err();
        assert!(refused.to_string().contains("--rate 1000000000 and --bytes 409600"), "{refused}");
        assert_eq!(refused.code(), crate::exit::USAGE);
        for (rate, bytes, partitions) in [(0.000_1, 1, 4096), (1e8, 409_600, 4096), (1e9, 1, 1), (4e5, 409_600, 1)] {
            let cost = Cost { data: arguments(), rate: Some(rate), bytes: Some(bytes), json: true };
            let mut config = Config::default();
            config.da.price_wei_per_symbol = u64::MAX;
            let day = cost.day(partitions, &config, None).unwrap();
            assert!(report(&config, partitions, None, day).day.is_some(), "{rate} {bytes} {partitions}");
        }
    }

    #[test]
    fn the_documents_show_what_the_command_says() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/eigenda.md")).unwrap();
        let table = docs.lines().skip_while(|line| !line.starts_with("| partitions | `da.blob_age_ms` |")).skip(2);
        let rows: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 7);
        for row in rows {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let mut config = Config::default();
            config.da.blob_age_ms = cells[1].parse().unwrap();
            let partitions = cells[0].parse().unwrap();
            let cost = Cost { data: arguments(), rate: Some(250.0), bytes: Some(183), json: true };
            let Projected { day, fill, wei, .. } =
                report(&config, partitions, None, cost.day(partitions, &config, None).unwrap()).day.unwrap();
            let shown = format!("{} | {:.1} % | {:.6}", day.blobs, fill * 100.0, ether(&wei));
            assert_eq!(cells[2..].join(" | "), shown, "{row}");
        }
    }

    fn arguments() -> crate::cli::DataArguments {
        crate::cli::DataArguments { data_dir: None, config: None }
    }
}
