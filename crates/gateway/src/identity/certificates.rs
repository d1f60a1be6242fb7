//! The authorities whose client certificates are taken, and whom those certificates are for.
//!
//! A certificate is verified in the handshake, and again for what is asked later on the same connection: once other files count, and once in a while. A call that comes on a connection
//! whose certificate has been revoked since, or whose authority is no longer one, is refused.
//!
//! An authority vouches for its own trust domain and for nobody else (X509-SVID, section 5): the id in the certificate says whose authorities may have issued it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::{IssuerName, PrincipalName};
use portcullis_domain::time::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use crate::identity::certificate::{CertificateTable, Subject};
use crate::identity::issuers::Recognised;
use crate::identity::spiffe::SpiffeId;
use crate::trust;
use crate::x509::Certificate;

/// How long the certificate of a connection counts before it is verified again, in microseconds.
const VERIFIED_FOR_US: u64 = 60_000_000;

/// The authorities that are in force.
#[derive(Default)]
pub struct Certificates(ArcSwap<Authorities>);

/// Those of a configuration, with what their files say.
#[derive(Debug, Default)]
pub struct Authorities {
    all: Vec<Authority>,
    /// Whose certificates clients are asked for.
    hints: Vec<DistinguishedName>,
}

#[derive(Debug)]
struct Authority {
    name: IssuerName,
    table: CertificateTable,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// The client of a connection, by the certificate whose key it has proved to have.
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    thumbprint: String,
    /// What was found out last. Locked for a look-up or to replace it, never while anything is verified.
    known: RwLock<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    authorities: Arc<Authorities>,
    at: Timestamp,
    verdict: Result<Option<Recognised>, String>,
}

impl Certificates {
    /// Takes in what another configuration, or other files, say.
    pub fn configure(&self, authorities: Arc<Authorities>) {
        self.0.store(authorities);
    }

    /// Who the client of this connection is; none where its certificate is good and nobody's.
    ///
    /// # Errors
    ///
    /// A sentence for the operator when the certificate is not good now.
    pub fn recognise(&self, peer: &Peer, now: Timestamp) -> Result<Option<Recognised>, String> {
        let authorities = self.0.load_full();
        let is_fresh = |known: &Known| {
            Arc::ptr_eq(&known.authorities, &authorities)
                && now.0.saturating_sub(known.at.0) < VERIFIED_FOR_US
                && known.verdict.as_ref().is_ok_and(|found| found.as_ref().is_none_or(|found| now < found.ends_at))
        };
        let known = peer.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(is_fresh) {
            return known.verdict;
        }
        let verdict = authorities.recognise(&peer.chain, now);
        let known = Known { authorities, at: now, verdict: verdict.clone() };
        *peer.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
        verdict
    }
}

impl Peer {
    /// Whoever has shown these certificates, of which the first is its own; none who has shown none.
    #[must_use]
    pub fn new(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let own = chain.first()?;
        Some(Self {
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
            thumbprint: URL_SAFE_NO_PAD.encode(Digest::of(own).0),
            known: RwLock::default(),
        })
    }

    /// The digest of its certificate, as `x5t#S256` of a token says it (RFC 8705, section 3.1).
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }
}

impl Authorities {
    /// Reads their files, which begin at `base`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub fn read(tables: &BTreeMap<IssuerName, CertificateTable>, base: &Path) -> Result<Self, Vec<String>> {
        let (mut authorities, mut problems) = (Self::default(), Vec::new());
        for (name, table) in tables {
            match verifier(table, base) {
                Ok((verifier, hints)) => {
                    authorities.hints.extend(hints);
                    authorities.all.push(Authority { name: name.clone(), table: table.clone(), verifier });
                }
                Err(problem) => problems.push(format!("identity.certificates.{name}: {problem}")),
            }
        }
        if problems.is_empty() { Ok(authorities) } else { Err(problems) }
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn recognise(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Option<Recognised>, String> {
        let (own, others) = chain.split_first().ok_or("there is no certificate")?;
        let time = UnixTime::since_unix_epoch(Duration::from_micros(now.0));
        let (authority, subject, ends_at) = self.verify(own, others, time).map_err(|unfit| unfit.to_string())?;
        let Some(seen) = authority.table.seen(&authority.name, &subject)? else { return Ok(None) };
        let credential = seen.profile.credential(&seen.issuer, &seen.principal)?;
        Ok(Some(Recognised { seen, credential, ends_at, bound_to: None }))
    }

    fn verify(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(&Authority, Subject, Timestamp), Unfit> {
        let certificate = Certificate::read(own).map_err(Unfit::Said)?;
        let subject = subject(&certificate).map_err(Unfit::Said)?;
        let domain = if let Subject::Spiffe(id) = &subject { Some(id.trust_domain.as_str()) } else { None };
        let mut unfit = Unfit::Said(match domain {
            Some(domain) => format!("none of `identity.certificates` is of the trust domain `{domain}`"),
            None => "none of `identity.certificates` is without a trust domain".to_owned(),
        });
        for authority in self.all.iter().filter(|authority| authority.table.trust_domain.as_deref() == domain) {
            match authority.verifier.verify_client_cert(own, others, now) {
                Ok(_) => return Ok((authority, subject, certificate.ends_at)),
                Err(error) => unfit = Unfit::Library(error),
            }
        }
        Err(unfit)
    }
}

/// Why a certificate is not taken.
#[derive(Debug)]
enum Unfit {
    Said(String),
    Library(Error),
}

impl fmt::Display for Unfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(reason) => out.write_str(reason),
            Self::Library(error) => write!(out, "{error}"),
        }
    }
}

/// Whom a certificate is for. One with several names could be taken for either.
fn subject(certificate: &Certificate) -> Result<Subject, String> {
    if certificate.may_sign_others {
        return Err("the certificate is one of an authority: its key may sign others".to_owned());
    }
    match (certificate.uris.as_slice(), certificate.dns_names.as_slice()) {
        ([uri], _) => SpiffeId::read(uri).map(Subject::Spiffe),
        ([_, _, ..], _) => Err("the certificate has several URIs".to_owned()),
        ([], [name]) => Ok(Subject::Dns(name.to_ascii_lowercase())),
        ([], []) => Err("the certificate has neither a SPIFFE id nor a DNS name".to_owned()),
        ([], [_, _, ..]) => Err("the certificate has several DNS names and no SPIFFE id".to_owned()),
    }
}

type Verifier = (Arc<dyn ClientCertVerifier>, Vec<DistinguishedName>);

fn verifier(table: &CertificateTable, base: &Path) -> Result<Verifier, String> {
    let mut roots = RootCertStore::empty();
    trust::add(&mut roots, &base.join(&table.ca_file)).map_err(|problem| format!("`ca_file`: {problem}"))?;
    let hints = roots.subjects();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if let Some(file) = &table.crl_file {
        let file = base.join(file);
        let unusable = |problem: String| format!("`crl_file`: `{}`: {problem}", file.display());
        let lists = CertificateRevocationListDer::pem_file_iter(&file).map_err(|error| unusable(error.to_string()))?;
        let lists: Vec<_> = lists.collect::<Result<_, _>>().map_err(|error| unusable(error.to_string()))?;
        if lists.is_empty() {
            return Err(unusable("it has no list of revoked certificates".to_owned()));
        }
        builder = builder.with_crls(lists).only_check_end_entity_revocation().enforce_revocation_expiration();
    }
    Ok((builder.build().map_err(|error| error.to_string())?, hints))
}

/// What is wrong with these tables by themselves, and together with the others who vouch for principals.
#[must_use]
pub fn check(
    tables: &BTreeMap<IssuerName, CertificateTable>,
    issuers: &BTreeMap<IssuerName, String>,
    is_there: impl Fn(&PrincipalName) -> bool,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut domains = BTreeSet::new();
    for (name, table) in tables {
        let at = |problem: String| format!("identity.certificates.{name}: {problem}");
        problems.extend(table.problem(name).map(at));
        if table.trust_domain.as_ref().is_some_and(|domain| !domains.insert(domain)) {
            problems.push(at("has the same `trust_domain` as another one".to_owned()));
        }
        if issuers.contains_key(name) {
            problems.push(at("has the name of one of `identity.issuers`".to_owned()));
        }
        let prefix = table.prefix(name);
        let certified =
            tables.iter().filter(|(other, _)| *other != name).map(|(other, its)| (other, its.prefix(other)));
        let issued = issuers.iter().map(|(other, prefix)| (other, prefix.clone()));
        for (other, its) in
            certified.chain(issued).filter(|(_, its)| its.starts_with(&prefix) || prefix.starts_with(its))
        {
            problems.push(at(format!(
                "its names, which begin with `{prefix}`, could be those of `{other}`, which begin with `{its}`"
            )));
        }
        for principal in table.principals.values().filter_map(|table| table.principal.as_ref()) {
            if !is_there(principal) {
                problems.push(at(format!("there is no principal or agent `{principal}`")));
            }
        }
    }
    problems
}

/// What a handshake asks.
#[derive(Debug)]
pub struct AtHandshake {
    /// Who counts.
    pub authorities: Arc<Authorities>,
    /// Whether nobody comes in without a certificate.
    pub is_required: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AtHandshake {
    /// For these authorities.
    #[must_use]
    pub fn new(authorities: Arc<Authorities>, is_required: bool) -> Self {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { authorities, is_required, algorithms }
    }
}

impl ClientCertVerifier for AtHandshake {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.authorities.hints
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.authorities.verify(own, others, now) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(unfit) => {
                tracing::info!(reason = %unfit, "a client certificate was not taken");
                Err(match unfit {
                    Unfit::Library(error) => error,
                    Unfit::Said(_) => CertificateError::ApplicationVerificationFailure.into(),
                })
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
