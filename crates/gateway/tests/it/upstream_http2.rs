//! Providers that offer HTTP/2: what clients get is what they get over HTTP/1.1.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everstream_core::limits::UPSTREAM_SHARED_STREAMS;
use everstream_testkit::provider::FakeProvider;
use futures_util::future::join_all;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::Response;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certs::Authority;
use crate::harness::{Gateway, Setup, StillTime, until};
use crate::talk::{CHAT, Reply, answer, answer_to, chat, data, page, post, send, soon};

/// A provider of HTTP/2, whose requests the test answers; over HTTP/1.1 it answers by itself.
struct Provider {
    addr: SocketAddr,
    ca_file: NamedTempFile,
    asked: mpsc::UnboundedReceiver<Asked>,
    by_itself: FakeProvider,
}

/// A request whose body came whole.
struct Asked {
    /// Its connection, in the order in which they were made.
    connection: usize,
    answer: SendResponse<Bytes>,
}

impl Provider {
    async fn start() -> Self {
        let authority = Authority::new();
        let mut ca_file = NamedTempFile::new().unwrap();
        ca_file.write_all(authority.pem().as_bytes()).unwrap();
        let identity = authority.issue();
        let chain = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let by_itself = FakeProvider::start(answer_to).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, plain) = (listener.local_addr().unwrap(), by_itself.addr());
        let (sender, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for connection in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let mut stream = acceptor.accept(socket).await.unwrap();
                let sender = sender.clone();
                tokio::spawn(async move {
                    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                        serve(stream, connection, sender).await;
                    } else {
                        let mut plain = TcpStream::connect(plain).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut stream, &mut plain).await;
                    }
                });
            }
        });
        Self {
            addr,
            ca_file,
            asked,
            by_itself,
        }
    }

    /// `setup` with it as the upstream `one`.
    fn with(&self, setup: Setup, more: &str) -> Setup {
        let path = self.ca_file.path().to_str().unwrap();
        let more = format!("models = [\"m\"]\nca_file = {path:?}\n{more}");
        setup.upstream("one", &format!("https://{}/v1", self.addr), &more)
    }

    async fn gateway(&self) -> Gateway {
        self.with(Setup::default(), "").start().await
    }

    async fn asked(&mut self) -> Asked {
        soon(self.asked.recv()).await.unwrap()
    }
}

async fn serve(
    stream: TlsStream<TcpStream>,
    connection: usize,
    asked: mpsc::UnboundedSender<Asked>,
) {
    let mut served = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, answer))) = served.accept().await {
        let asked = asked.clone();
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(piece)) = body.data().await {
                let _ = body.flow_control().release_capacity(piece.len());
            }
            let _ = asked.send(Asked { connection, answer });
        });
    }
}

impl Asked {
    /// Begins to stream [`answer`], up to `events` events of it.
    fn begin(mut self, events: usize) -> SendStream<Bytes> {
        let head = Response::builder().header("content-type", "text/event-stream");
        let head = head.body(()).unwrap();
        let mut body = self.answer.send_response(head, false).unwrap();
        let all = answer().expected_data();
        for data in &all[..events] {
            say(&mut body, data);
        }
        body
    }

    fn say_all(self) {
        let mut body = self.begin(answer().expected_data().len());
        body.send_data(Bytes::new(), true).unwrap();
    }

    async fn cancelled(mut self) {
        let reset = std::future::poll_fn(|cx| self.answer.poll_reset(cx));
        assert_eq!(soon(reset).await.unwrap(), Reason::CANCEL);
    }
}

fn say(body: &mut SendStream<Bytes>, data: &str) {
    let event = format!("data: {data}\n\n");
    body.send_data(event.into(), false).unwrap();
}

async fn ask(gateway: &Gateway, text: &str) -> Reply {
    post(gateway, CHAT, &chat(text), &[]).await
}

fn whole() -> Vec<String> {
    answer().expected_data_without_usage()
}

#[tokio::test]
async fn an_answer_is_the_same_over_both_versions() {
    let mut provider = Provider::start().await;
    let old = provider
        .with(Setup::default(), "http2 = false")
        .start()
        .await;
    let over_1 = ask(&old, "x").await.frames().await;
    assert_eq!(provider.by_itself.calls().len(), 1);
    let gateway = provider.gateway().await;
    let asking = async {
        let asked = provider.asked().await;
        asked.say_all();
    };
    let (reply, ()) = tokio::join!(ask(&gateway, "x"), asking);
    let over_2 = reply.frames().await;
    assert_eq!(data(&over_2), data(&over_1));
    assert_eq!(data(&over_2), whole());
    assert_eq!(provider.by_itself.calls().len(), 1);
}

#[tokio::test]
async fn many_answers_share_few_connections() {
    let many = UPSTREAM_SHARED_STREAMS + 8;
    let mut provider = Provider::start().await;
    let gateway = provider.gateway().await;
    let asking = async {
        let mut open = Vec::new();
        for _ in 0..many {
            open.push(provider.asked().await);
        }
        let shared = open.iter().filter(|asked| asked.connection == 0).count();
        let others = open.iter().filter(|asked| asked.connection == 1).count();
        assert!(shared <= UPSTREAM_SHARED_STREAMS && shared + others == many);
        open.into_iter().for_each(Asked::say_all);
    };
    let texts: Vec<_> = (0..many).map(|n| n.to_string()).collect();
    let replies = texts.iter().map(|text| ask(&gateway, text));
    let (replies, ()) = tokio::join!(join_all(replies), asking);
    for reply in replies {
        assert_eq!(data(&reply.frames().await), whole());
    }
}

#[tokio::test]
async fn a_cancelled_answer_is_stopped_there_and_others_go_on() {
    let mut provider = Provider::start().await;
    let gateway = provider.gateway().await;
    let asking = async {
        let one = provider.asked().await;
        (one.connection, one.begin(3))
    };
    let (reply, (_, mut stopped)) = tokio::join!(ask(&gateway, "x"), asking);
    let asking = async {
        let other = provider.asked().await;
        assert_eq!(other.connection, 0);
        other.begin(3)
    };
    let (other, mut body) = tokio::join!(ask(&gateway, "y"), asking);
    let path = format!("/v1/streams/{}", reply.stream());
    let answered = send(&gateway, "DELETE", &path, &[]).await;
    assert!(answered.head.status < 300, "{:?}", answered.head);
    let reset = std::future::poll_fn(|cx| stopped.poll_reset(cx));
    assert_eq!(soon(reset).await.unwrap(), Reason::CANCEL);
    for data in &answer().expected_data()[3..] {
        say(&mut body, data);
    }
    body.send_data(Bytes::new(), true).unwrap();
    assert_eq!(data(&other.frames().await), whole());
}

#[tokio::test]
async fn a_reset_before_content_is_unseen_and_one_after_it_is_a_cut() {
    let mut provider = Provider::start().await;
    let other = FakeProvider::start(answer_to).await;
    let gateway = provider
        .with(Setup::default(), "")
        .upstream("two", &other.base_url(), "")
        .upstream_fields(
            "[[routes]]\nmodel = \"m\"\n[[routes.deployments]]\nupstream = \"one\"\n\
             [[routes.deployments]]\nupstream = \"two\"",
        )
        .start()
        .await;
    for events in [0, 1] {
        let asking = async {
            let mut body = provider.asked().await.begin(events);
            body.send_reset(Reason::INTERNAL_ERROR);
        };
        let (reply, ()) = tokio::join!(ask(&gateway, "x"), asking);
        assert_eq!(reply.header("everstream-upstream"), "two", "{events}");
        assert_eq!(data(&reply.frames().await), whole());
    }
    let asking = async { provider.asked().await.begin(3) };
    let (mut reply, mut body) = tokio::join!(ask(&gateway, "x"), asking);
    let id = reply.stream();
    for expected in &whole()[..3] {
        assert_eq!(reply.event().await.data.as_ref(), Some(expected));
    }
    body.send_reset(Reason::INTERNAL_ERROR);
    let rest = data(&reply.frames().await);
    assert!(rest[0].contains("upstream_cut"), "{rest:?}");
    let stream = page(&gateway, &id).await;
    assert_eq!(stream["status"], "failed");
    assert_eq!(other.calls().len(), 2);
}

#[tokio::test]
async fn a_refused_stream_runs_once_and_nobody_sees_it() {
    let mut provider = Provider::start().await;
    let gateway = provider.gateway().await;
    let asking = async {
        provider
            .asked()
            .await
            .answer
            .send_reset(Reason::REFUSED_STREAM);
        provider.asked().await.say_all();
    };
    let (reply, ()) = tokio::join!(ask(&gateway, "x"), asking);
    assert_eq!(data(&reply.frames().await), whole());
    assert!(provider.asked.try_recv().is_err());
}

#[tokio::test]
async fn a_head_that_is_late_ends_its_stream_and_no_connection() {
    let mut provider = Provider::start().await;
    let fields = "head_timeout = \"3s\"";
    let gateway = provider.with(Setup::default(), fields).start().await;
    let mut client = gateway.client().await;
    let asking = tokio::spawn(async move {
        let head = client.post_json(CHAT, &chat("x"), &[]).await.unwrap();
        Reply { head, client }
    });
    let asked = provider.asked().await;
    let time = StillTime::begin();
    time.pass(Duration::from_secs(4)).await;
    assert_eq!(
        soon(asking).await.unwrap().error(504).await,
        "upstream_timeout"
    );
    asked.cancelled().await;
    drop(time);
    let asking = async {
        let asked = provider.asked().await;
        assert_eq!(asked.connection, 0);
        asked.say_all();
    };
    let (reply, ()) = tokio::join!(ask(&gateway, "y"), asking);
    assert_eq!(data(&reply.frames().await), whole());
    let upstream = gateway.app.models.upstreams().next().unwrap();
    until(|| (upstream.link().in_use, upstream.link().idle) == (0, 1)).await;
}
