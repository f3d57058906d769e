"""What a person sees and does on the web page, in a headless Chromium; started by web-page.sh."""

import base64
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PAGE = os.environ["PAGE"].rstrip("/")
SHOTS = pathlib.Path(os.environ["SCREENSHOTS"])
DEADLINE = 30
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
]


class Browser:
    """One window, driven through chromedriver."""

    def __init__(self, port, profile):
        self.base = f"http://127.0.0.1:{port}"
        options = {"args": FLAGS + [f"--user-data-dir={profile}"], "binary": "/usr/bin/chromium"}
        always = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": always}})
        self.base += f"/session/{session['sessionId']}"

    def call(self, method, path, body=None):
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()[:500]}") from None

    def devtools(self, command, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, path):
        self.call("POST", "/url", {"url": PAGE + path})

    def script(self, text):
        return self.call("POST", "/execute/sync", {"script": text, "args": []})

    def find(self, selector):
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        return next(iter(found.values()))

    def type(self, selector, text):
        self.call("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def click(self, selector):
        self.call("POST", f"/element/{self.find(selector)}/click")

    def text(self):
        return self.script("return document.body.innerText")

    def path(self):
        return self.script("return location.pathname")

    def complaints(self):
        """What the browser holds against the page: errors of scripts, refused sources."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})
                if entry["level"] in ("SEVERE", "WARNING")]

    def look(self, width, height, scheme, mobile):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def shoot(self, name):
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 3000), "scale": 1}
        shot = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        (SHOTS / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self.call("DELETE", "")


def until(what, condition):
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < DEADLINE, f"it did not come true that {what}"
        time.sleep(0.1)


def claim(what, holds):
    assert holds, what
    print(f"ok  {what}")


def ashlar(*arguments, **options):
    return subprocess.run([os.environ["ASHLAR"], *arguments], check=True, capture_output=True, **options).stdout


def sign_in(browser, key, secret=None):
    browser.open("/sign-in")
    browser.type("input[name=access_key]", key["access_key"])
    browser.type("input[name=secret_key]", secret or key["secret_key"])
    browser.click("main button[type=submit]")


LOOKS = {
    "light": (1280, 900, "light", False),
    "dark": (1280, 900, "dark", False),
    "phone": (390, 844, "light", True),
    "phone-dark": (390, 844, "dark", True),
}
PAGES = {
    "overview": "/", "datanodes": "/datanodes", "namenodes": "/namenodes", "jobs": "/jobs", "files": "/files/photos/2026",
    "file": "/files/photos/2026/arch.raw", "names": "/files/names", "audit": "/audit",
}


def tour(browser, name, path):
    for look, size in LOOKS.items():
        browser.look(*size)
        browser.open(path)
        wide = browser.script("return document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name} is {wide} pixels too wide for {look}"
        browser.shoot(f"{name}-{look}")
    browser.look(*LOOKS["light"])


def claims(browser, directory):
    root, other = json.loads(os.environ["ROOT_KEY"]), json.loads(os.environ["OTHER_KEY"])

    browser.open("/datanodes")
    claim("without a session one is led to sign in", browser.path() == "/sign-in")
    tour(browser, "sign-in", "/sign-in")
    sign_in(browser, root, "not the secret")
    claim("a wrong secret is refused", "no such key with this secret" in browser.text())
    browser.complaints()  # The browser notes the 401 itself.
    sign_in(browser, root)
    until("the overview is shown", lambda: browser.path() == "/")
    claim("the right one shows the health", "healthy" in browser.text().lower())
    claim("a script cannot read the session's cookie", browser.script("return document.cookie") == "")

    ashlar("admin", "maintenance", "dn1", "--for", "2h", "--yes")
    for name, path in PAGES.items():
        tour(browser, name, path)
    claim("every page fits in light, dark and on a phone", True)
    claim("no page makes the browser complain", not browser.complaints())

    browser.open("/jobs")
    claim("a job is shown with who asked for it", "maintenance of datanode" in browser.text())
    browser.click("form[action='/jobs'] button[value=cancel]")
    until("the job is cancelled", lambda: "cancelled" in browser.text())
    claim("a job is cancelled from the page", "No job is under way" in browser.text())

    browser.open("/files/names")
    listing = browser.text()
    claim("names are shown as they are", "<script>window.obeyed=1<?script>" in listing and "onerror=window.obeyed" in listing)
    claim("bytes that are no text are written out", "no \\xff\\xfe text" in listing and "two\\u{a}lines" in listing)
    links = browser.script("return [...document.querySelectorAll('td.name a')].map(a => a.getAttribute('href'))")
    claim("all of them are listed", len(links) == 5)
    for link in links:
        browser.open(link)
        claim(f"{link} opens", "wanted replicas" in browser.text())
        claim("and nothing of its name is obeyed", browser.script("return window.obeyed === undefined"))

    browser.open("/files/photos/2026/arch.raw")
    claim("the blocks of a file are shown with their datanodes", "3 replicas" in browser.text() and "dn1" in browser.text())

    local = pathlib.Path(directory) / "carried <up>.bin"
    local.write_bytes(os.urandom(1_500_000))
    browser.open("/files/photos")
    browser.type("input[type=file]", str(local))
    browser.click("form[action='/upload'] button")
    until("the file is listed", lambda: "carried <up>.bin" in browser.text())
    claim("an upload arrives whole", ashlar("fs", "cat", "/photos/carried <up>.bin") == local.read_bytes())
    browser.type("input[name=name]", "made here")
    browser.click("form[action='/make-directory'] button")
    until("the new directory is shown", lambda: browser.path() == "/files/photos/made%20here")
    claim("a directory is made", True)

    browser.open("/")
    before = browser.script("return performance.timeOrigin")
    for number in range(7):
        ashlar("fs", "put", "-", f"/logs/more-{number}", input=b"x")
    files = "return [...document.querySelectorAll('.card')].find(c => c.innerText.startsWith('Files')).innerText"
    count = json.loads(ashlar("admin", "status", "--json"))["files"]
    until("the overview counts them", lambda: f"\n{count}\n" in browser.script(files))
    claim("the overview is brought up to date without being loaded again",
          browser.script("return performance.timeOrigin") == before)

    browser.open("/audit")
    claim("the audit page has what was done", "/photos/made here" in browser.text())

    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    browser.open("/files/logs")
    browser.devtools("Emulation.setScriptExecutionDisabled", value=False)
    claim("pages are whole without scripts", "2026-11-01.log" in browser.text())

    browser.click("form[action='/sign-out'] button")
    until("the page to sign in is shown", lambda: browser.path() == "/sign-in")
    browser.open("/")
    claim("who has signed out is out", browser.path() == "/sign-in")

    sign_in(browser, other)
    until("the overview is shown", lambda: browser.path() == "/")
    claim("others have no audit page", "Audit" not in browser.script("return document.querySelector('nav').innerText"))
    browser.open("/files/logs")
    claim("and see of the files what they may", "permission denied" in browser.text().lower())
    browser.shoot("denied-light")


def main():
    SHOTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        port = free_port()
        driver = subprocess.Popen(["chromedriver", f"--port={port}", "--log-level=WARNING"], stdout=subprocess.DEVNULL)
        try:
            until("the driver answers", lambda: answers(port))
            browser = Browser(port, profile)
            try:
                claims(browser, sys.argv[1])
            except AssertionError:
                browser.shoot("failed")
                print(browser.text()[:2000], file=sys.stderr)
                raise
            finally:
                browser.close()
        finally:
            driver.terminate()
            driver.wait()
    print(f"screenshots are in {SHOTS}")


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=2) as answer:
            return json.load(answer)["value"]["ready"]
    except OSError:
        return False


def free_port():
    """A port that is free now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


if __name__ == "__main__":
    main()
