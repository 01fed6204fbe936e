//! Every way to prove who a client is, over an encrypted connection, against a real broker.

use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tributary_schemas::ids::{Clock, SystemClock};

use super::*;

const USER: &str = "sealer";
const PASSWORD: &str = "a password of its own";

/// A listener for passwords and one for tokens, both encrypted. The ones of the cluster itself stay as they are.
fn properties(key_store: &Path, [plain, inner, passwords, tokens]: [u16; 4]) -> String {
    let key_store = key_store.display();
    let module = |name: &str| format!("org.apache.kafka.common.security.{name}");
    let (by_password, by_proof) = (module("plain.PlainLoginModule"), module("scram.ScramLoginModule"));
    let by_token = module("oauthbearer.OAuthBearerLoginModule");
    format!(
        "controller.quorum.voters=1@127.0.0.1:{inner}\n\
         listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{inner},\
         PASSWORDS://127.0.0.1:{passwords},TOKENS://127.0.0.1:{tokens}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{plain},PASSWORDS://127.0.0.1:{passwords},TOKENS://127.0.0.1:{tokens}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PASSWORDS:SASL_SSL,TOKENS:SASL_SSL\n\
         ssl.keystore.location={key_store}\nssl.keystore.password=changeit\nssl.keystore.type=PKCS12\n\
         sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER\n\
         listener.name.passwords.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
         listener.name.passwords.plain.sasl.jaas.config={by_password} required user_{USER}=\"{PASSWORD}\";\n\
         listener.name.passwords.scram-sha-256.sasl.jaas.config={by_proof} required;\n\
         listener.name.passwords.scram-sha-512.sasl.jaas.config={by_proof} required;\n\
         listener.name.tokens.sasl.enabled.mechanisms=OAUTHBEARER\n\
         listener.name.tokens.oauthbearer.sasl.jaas.config={by_token} required unsecuredLoginStringClaim_sub=\"broker\";\n\
         "
    )
}

fn free_ports() -> [u16; 4] {
    let held: Vec<StdListener> = (0..4).map(|_| StdListener::bind("127.0.0.1:0").unwrap()).collect();
    let mut ports = held.iter().map(|listener| listener.local_addr().unwrap().port());
    std::array::from_fn(|_| ports.next().unwrap())
}

fn run(command: &mut Command) {
    let ran = command.output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{command:?}: {out}{error}");
}

/// A key of the broker, and the certificate that proves it.
fn key_and_certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let (store, certificate) = (directory.join("key.p12"), directory.join("ca.pem"));
    let store_arguments = |command: &mut Command| {
        command.args(["-alias", "broker", "-storetype", "PKCS12", "-storepass", "changeit", "-keystore"]).arg(&store);
    };
    let mut command = Command::new("keytool");
    command.args(["-genkeypair", "-keyalg", "EC", "-dname", "CN=127.0.0.1", "-ext", "SAN=ip:127.0.0.1", "-validity", "2"]);
    store_arguments(&mut command);
    run(&mut command);
    let mut command = Command::new("keytool");
    command.args(["-exportcert", "-rfc", "-file"]).arg(&certificate);
    store_arguments(&mut command);
    run(&mut command);
    (store, certificate)
}

/// An identity provider that gives anybody with the secret a token: one that is not signed, as this broker takes it.
async fn provider() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = vec![0; 8192];
            let read = connection.read(&mut request).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            // Basic authentication of `client:secret`.
            let body = match text.contains("Basic Y2xpZW50OnNlY3JldA==") {
                true => format!(r#"{{"access_token":"{}","token_type":"bearer","expires_in":3600}}"#, token()),
                false => r#"{"error":"invalid_client"}"#.to_owned(),
            };
            let status = if body.contains("error") { "401 Unauthorized" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n");
            let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    url
}

fn token() -> String {
    let now = SystemClock.now().micros() / 1_000_000;
    let payload = format!(r#"{{"sub":"{USER}","iat":{now},"exp":{}}}"#, now + 3600);
    format!("{}.{}.", base64url(br#"{"alg":"none"}"#), base64url(payload.as_bytes()))
}

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let sixes = |chunk: &[u8]| {
        let word = (0..3).fold(0_u32, |word, at| word << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        (0..=chunk.len()).map(|at| char::from(LETTERS[(word >> (18 - 6 * at)) as usize & 63])).collect::<String>()
    };
    bytes.chunks(3).map(sixes).collect()
}

async fn works(settings: Settings, name: &str) {
    let settings = Settings { answer_timeout: Duration::from_secs(20), ..settings };
    let log = open(settings, count(1)).await;
    log.append(vec![record("key", name)]).await.unwrap();
    let partition = Partition::new(0).unwrap();
    let next = log.bounds(partition).await.unwrap().next;
    let last = log.read(partition, next.previous().unwrap(), 1).await.unwrap();
    assert_eq!(last[0].value, *name);
}

/// Why a client is refused. A broker that is busy may not have said so when the client's time is over.
async fn refusal(settings: &Settings) -> Fault {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let fault = KafkaLog::open(settings.clone(), count(1)).await.err().unwrap();
        if fault.kind() != FaultKind::Unreachable || Instant::now() > deadline {
            return fault;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_proves_who_it_is() {
    let directory = TempDir::new().unwrap();
    if Broker::is_missing() {
        return;
    }
    let (store, certificate) = key_and_certificate(directory.path());
    let ports = free_ports();
    let broker = Broker::start_at(&properties(&store, ports), &format!("127.0.0.1:{}", ports[0])).await;
    let open_to_all = Settings::new(broker.bootstrap(), "guarded");
    create(&open_to_all, plan(count(1))).await.unwrap();
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let mut tool = Broker::tool("kafka.admin.ConfigCommand");
        tool.args(["--bootstrap-server", broker.bootstrap(), "--alter", "--entity-type", "users", "--entity-name", USER]);
        run(tool.args(["--add-config", &format!("{mechanism}=[password={PASSWORD}]")]));
    }
    let password = || Password { username: USER.to_owned(), password: PASSWORD.to_owned() };
    let oauth = |secret: &str, token_url: String| OAuth {
        token_url,
        client_id: "client".to_owned(),
        client_secret: secret.to_owned(),
        scope: String::new(),
    };
    let url = provider().await;
    let [_, _, passwords, tokens] = ports;
    let guarded = |port: u16, sasl: Sasl, ca: bool| {
        let mut settings = Settings::new(format!("127.0.0.1:{port}"), "guarded");
        let ca_file = ca.then(|| certificate.clone());
        settings.security = Security { tls: Some(Tls { ca_file, ..Tls::default() }), sasl: Some(sasl) };
        settings.answer_timeout = Duration::from_secs(3);
        settings
    };
    works(guarded(passwords, Sasl::Plain(password()), true), "plain").await;
    works(guarded(passwords, Sasl::ScramSha256(password()), true), "scram-256").await;
    works(guarded(passwords, Sasl::ScramSha512(password()), true), "scram-512").await;
    works(guarded(tokens, Sasl::OAuthBearer(oauth("secret", url.clone())), true), "token").await;

    let wrong = Password { password: "a guess".to_owned(), ..password() };
    for (refused, kind) in [
        (guarded(passwords, Sasl::Plain(wrong.clone()), true), FaultKind::SaslRefused),
        (guarded(passwords, Sasl::ScramSha512(wrong), true), FaultKind::SaslRefused),
        (guarded(tokens, Sasl::OAuthBearer(oauth("a guess", url)), true), FaultKind::SaslRefused),
        // An authority that is not known.
        (guarded(passwords, Sasl::Plain(password()), false), FaultKind::TlsRefused),
    ] {
        let error = refusal(&refused).await;
        assert!(error.kind() == kind && error.is_passing(), "{error}");
        assert!(!error.to_string().contains("a guess"), "{error}");
    }
}
