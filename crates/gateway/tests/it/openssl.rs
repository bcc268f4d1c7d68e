//! The server as `openssl s_client` sees it: a third party's TLS, which still speaks what is refused.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use everstream_testkit::provider::FakeProvider;

use crate::certs::{Authority, Files};
use crate::harness::{Setup, within};
use crate::talk::answer_to;

/// All ciphers that openssl has, and no demands on them.
const WEAK: &str = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";

/// Whether it and the server agree, and what it said. `None` where it is not installed.
async fn openssl(addr: SocketAddr, args: &[&str]) -> Option<(bool, String)> {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", &addr.to_string()])
        .args(args)
        .stdin(Stdio::null());
    let asked = tokio::task::spawn_blocking(move || command.output());
    let Ok(output) = within(asked).await.unwrap() else {
        eprintln!("SKIPPED: openssl is not installed, so nobody but rustls tried the server's TLS");
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Some((output.status.success(), said))
}

#[tokio::test]
async fn old_versions_and_weak_ciphers_are_refused() {
    let files = Files::new(&Authority::new().issue());
    let provider = FakeProvider::start(answer_to).await;
    let gateway = files.start(Setup::new(&provider)).await;
    let modern = "ECDHE-ECDSA-AES128-GCM-SHA256";
    for (args, agrees) in [
        (&["-tls1_3"][..], true),
        (&["-tls1_2"], true),
        (&["-tls1_2", "-cipher", modern], true),
        (&["-tls1_1", "-cipher", WEAK], false),
        (&["-tls1", "-cipher", WEAK], false),
        (&["-tls1_2", "-cipher", "CBC:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "kRSA:kDHE:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "aNULL:eNULL:@SECLEVEL=0"], false),
    ] {
        let Some((agreed, said)) = openssl(gateway.addr, args).await else {
            return;
        };
        assert_eq!(agreed, agrees, "{args:?}: {said}");
        // Refused by the server, and not for want of a cipher in openssl.
        assert!(agreed || said.contains("alert"), "{args:?}: {said}");
    }
}

#[tokio::test]
async fn both_versions_of_http_are_offered_and_nothing_else() {
    let files = Files::new(&Authority::new().issue());
    let provider = FakeProvider::start(answer_to).await;
    let gateway = files.start(Setup::new(&provider)).await;
    for version in ["-tls1_2", "-tls1_3"] {
        for (offer, chosen) in [
            ("h2,http/1.1", Some("h2")),
            ("http/1.1", Some("http/1.1")),
            ("http/1.1,h2", Some("h2")),
            ("imap,h2", Some("h2")),
            ("imap", None),
        ] {
            let Some((agreed, said)) = openssl(gateway.addr, &[version, "-alpn", offer]).await
            else {
                return;
            };
            assert_eq!(agreed, chosen.is_some(), "{version} {offer}: {said}");
            let Some(chosen) = chosen else {
                assert!(said.contains("no application protocol"), "{said}");
                continue;
            };
            let told = format!("ALPN protocol: {chosen}\n");
            assert!(said.contains(&told), "{version} {offer}: {said}");
        }
    }
}

#[tokio::test]
async fn clients_show_their_certificates_and_changed_ones_of_the_server_are_seen() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (first, second) = (authority.issue(), authority.issue());
    let files = Files::new(&first).of_clients(&clients);
    let provider = FakeProvider::start(answer_to).await;
    let gateway = files.start(Setup::new(&provider)).await;
    let paths = ["known", "stranger"].map(|name| files.path(name).display().to_string());
    let identities = [clients.issue(), Authority::new().issue()];
    for (path, identity) in paths.iter().zip(identities) {
        fs::write(path, identity.certificate + &identity.key).unwrap();
    }
    let [known, stranger] = paths.each_ref().map(String::as_str);
    for (shown, agrees) in [
        (&["-cert", known, "-key", known][..], true),
        (&["-cert", stranger, "-key", stranger], false),
        (&[], false),
    ] {
        // In version 1.3 a client learns only later that it is not wanted.
        let args = [&["-tls1_2"], shown].concat();
        let Some((agreed, said)) = openssl(gateway.addr, &args).await else {
            return;
        };
        assert_eq!(agreed, agrees, "{shown:?}: {said}");
        assert!(agrees || said.contains("alert"), "{shown:?}: {said}");
    }
    for identity in [&first, &second] {
        files.write(identity);
        gateway.certificates.as_ref().unwrap().reload();
        let args = ["-tls1_3", "-cert", known, "-key", known];
        let (agreed, said) = openssl(gateway.addr, &args).await.unwrap();
        let own = identity.certificate.replace('\r', "");
        assert!(agreed && said.contains(own.trim()), "{own}{said}");
    }
}
