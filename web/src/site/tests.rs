//! The site without a cluster behind it: what is told to whom, and how.

use axum::body::Body;
use axum::http::header::{COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::*;

/// A site of a cluster that nobody can reach.
fn site() -> Arc<Site> {
    let dir = tempfile::tempdir().expect("a directory");
    let sealing = SealingKey::create(&dir.path().join("secrets.key")).expect("made");
    // Nothing listens on port 1.
    let op_timeout = Duration::from_millis(20);
    let config = Config { namenodes: vec!["127.0.0.1:1".to_owned()], op_timeout, ..Config::default() };
    let cluster = Cluster::watch(config.clone(), CancellationToken::new());
    Site::new(config, cluster, sealing, Duration::from_secs(60))
}

/// A session as it would be after signing in: its cookie and its form token.
fn sign_in(site: &Site, uid: u32) -> (String, String) {
    let user = User { uid, gid: uid, groups: Vec::new() };
    let cookie = site.sessions.begin(user, "KEY".to_owned(), uid == 0).expect("drawn");
    let cookie = cookie.to_str().expect("text").split(';').next().expect("a pair").to_owned();
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, cookie.parse().expect("legal"));
    let token = site.sessions.find(&headers).expect("signed in").form_token;
    (cookie, token)
}

async fn ask(site: &Arc<Site>, method: &str, path: &str, cookie: Option<&str>, form: &str) -> (StatusCode, Response) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, cookie);
    }
    let mut request = request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()))
        .expect("legal");
    request.extensions_mut().insert(std::net::SocketAddr::from(([127, 0, 0, 1], 9)));
    let response = router(Arc::clone(site)).oneshot(request).await.expect("never fails");
    (response.status(), response)
}

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.expect("whole").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

const PAGES: [&str; 8] = ["/", "/jobs", "/datanodes", "/namenodes", "/audit", "/files", "/files/a/b", "/download/a"];
const API: [&str; 7] = ["status", "jobs", "datanodes", "namenodes", "audit", "files", "files/a"];
const CHANGES: [&str; 4] = ["/upload", "/jobs", "/make-directory", "/sign-out"];

#[tokio::test]
async fn without_a_session_everything_leads_to_signing_in() {
    let site = site();
    for path in PAGES {
        let (status, response) = ask(&site, "GET", path, None, "").await;
        let to = response.headers().get(LOCATION).expect("a way").to_str().expect("text").to_owned();
        assert!(status.is_redirection() && to.starts_with("/sign-in"), "invariant 1: {path}: {status} {to}");
    }
    for path in API {
        let (status, _) = ask(&site, "GET", &format!("/api/v1/{path}"), None, "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "invariant 1: {path}");
    }
    for path in CHANGES {
        let (status, response) = ask(&site, "POST", path, None, "form_token=x&directory=&name=d").await;
        assert!(status.is_redirection() || status.is_client_error(), "invariant 1: {path}: {status}");
        assert!(response.headers().get(SET_COOKIE).is_none());
    }
    // A cookie that was made up is none.
    let (status, _) = ask(&site, "GET", "/", Some(&format!("ashlar_session={}", "0".repeat(64))), "").await;
    assert!(status.is_redirection());
}

#[tokio::test]
async fn nothing_changes_without_the_token_of_the_session() {
    let site = site();
    let (cookie, token) = sign_in(&site, 0);
    for form in ["form_token=&directory=&name=d", &format!("form_token={}&directory=&name=d", "0".repeat(64))] {
        let (status, response) = ask(&site, "POST", "/make-directory", Some(&cookie), form).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "invariant 3");
        assert!(text(response).await.contains("not made for this session"));
        let (status, _) = ask(&site, "POST", "/sign-out", Some(&cookie), form).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "invariant 3");
    }
    let (status, response) = ask(&site, "POST", "/sign-out", Some(&cookie), &format!("form_token={token}")).await;
    let gone = response.headers().get(SET_COOKIE).expect("the cookie goes").to_str().expect("text").to_owned();
    assert!(status.is_redirection() && gone.contains("Max-Age=0"), "{gone}");
    let (status, _) = ask(&site, "GET", "/sign-in", Some(&cookie), "").await;
    assert_eq!(status, StatusCode::OK, "nobody is signed in any more");
}

#[tokio::test]
async fn audit_is_for_superusers() {
    let site = site();
    let (cookie, _) = sign_in(&site, 1000);
    let (status, response) = ask(&site, "GET", "/audit", Some(&cookie), "").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(!text(response).await.contains("href=\"/audit\""), "and there is no tab for it");
    let (status, _) = ask(&site, "GET", "/api/v1/audit", Some(&cookie), "").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn jobs_are_controlled_by_superusers_and_with_the_token() {
    let site = site();
    let (cookie, token) = sign_in(&site, 1000);
    let form = format!("form_token={token}&job=1&action=cancel");
    let (status, _) = ask(&site, "POST", "/jobs", Some(&cookie), &form).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (cookie, token) = sign_in(&site, 0);
    let (status, _) = ask(&site, "POST", "/jobs", Some(&cookie), "form_token=x&job=1&action=cancel").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "invariant 3");
    let (status, _) =
        ask(&site, "POST", "/jobs", Some(&cookie), &format!("form_token={token}&job=1&action=burn")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_answer_forbids_what_no_page_needs() {
    let site = site();
    let (cookie, _) = sign_in(&site, 0);
    for path in ["/sign-in", "/", "/no/such", "/assets/page.js"] {
        let (_, response) = ask(&site, "GET", path, Some(&cookie), "").await;
        let policy = response.headers().get(CONTENT_SECURITY_POLICY).expect("a policy").to_str().expect("text");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(response.headers().get(X_CONTENT_TYPE_OPTIONS).expect("set"), "nosniff");
    }
    // An answer to who is signed in is kept by nobody.
    let (_, response) = ask(&site, "GET", "/", Some(&cookie), "").await;
    assert_eq!(response.headers().get(CACHE_CONTROL).expect("set"), "no-store");
}

#[tokio::test]
async fn a_cluster_that_nobody_reaches_is_shown_as_that() {
    let site = site();
    let (cookie, _) = sign_in(&site, 0);
    let (status, response) = ask(&site, "GET", "/", Some(&cookie), "").await;
    let page = text(response).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("unavailable") && page.contains("no leader: 0 of 1 namenode answer"), "{page}");
    let (status, _) = ask(&site, "GET", "/namenodes", Some(&cookie), "").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn names_in_urls_are_no_markup() {
    let site = site();
    let (cookie, _) = sign_in(&site, 0);
    for name in
        ["%3Cscript%3Ealert(1)%3C/script%3E/..", "%22%3E%3Cimg%20src=x%3E", "%FF%FE", "%00", "%0d%0aset-cookie:x"]
    {
        let (_, response) = ask(&site, "GET", &format!("/files/{name}"), Some(&cookie), "").await;
        assert!(response.headers().get(SET_COOKIE).is_none());
        let page = text(response).await;
        assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "invariant 4: {page}");
    }
    let (_, response) = ask(&site, "GET", "/sign-in?next=%22%3E%3Cscript%3E", None, "").await;
    assert!(!text(response).await.contains("\"><script>"), "invariant 4");
}
