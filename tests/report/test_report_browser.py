"""The page in a real browser: it must show everything, complain about nothing and ask nobody."""

import http.server
import re
import shutil
import subprocess
import threading

import pytest
from report_examples import example_report

pytest.importorskip("matplotlib", reason="the report extra is not installed")
pytest.importorskip("jinja2", reason="the report extra is not installed")

from snnkit.report import render

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--enable-logging=stderr",
    "--virtual-time-budget=2000",
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason=f"no browser installed ({', '.join(BROWSERS)})"),
]


class Asked(http.server.BaseHTTPRequestHandler):
    """Answers every request with the page in ``server.pages`` and writes down what was asked."""

    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.server.pages.get(self.path)
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked) as served:
        served.asked, served.pages = [], {}
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def browse(server, tmp_path, *options):
    # Every name but the server's own leads nowhere, so a request to elsewhere would be an error in the log.
    address = f"http://127.0.0.1:{server.server_port}/"
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    command = [BROWSER, *QUIET, rules, f"--user-data-dir={tmp_path / 'profile'}", *options, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_page_opens_without_complaint_or_request(server, tmp_path):
    server.pages["/"] = render(example_report()).encode()
    dom, console = browse(server, tmp_path, "--dump-dom")
    assert console == []
    assert server.asked == ["/"]
    assert dom.count("<svg") == 12
    assert "First difference" in dom


def test_the_check_itself_sees_errors_and_requests(server, tmp_path):
    broken = '<title>x</title><img src="/lost.png"><script>console.error("told")</script>'
    server.pages["/"] = broken.encode()
    _, console = browse(server, tmp_path, "--dump-dom")
    assert any("told" in line for line in console)
    assert "/lost.png" in server.asked


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_wider_than_the_window(server, tmp_path, width):
    # Headless windows have a smallest width, so the page stands in a frame of the wanted one.
    server.pages["/page"] = render(example_report()).encode()
    frame = f"""<title>x</title>
    <iframe id="f" src="/page" style="border:0;width:{width}px;height:900px"></iframe>
    <script>f.onload = () => {{ const root = f.contentDocument.documentElement;
    document.title = "widths " + root.scrollWidth + " " + root.clientWidth; }}</script>"""
    server.pages["/"] = frame.encode()
    dom, console = browse(server, tmp_path, "--dump-dom")
    assert console == []
    scroll, client = map(int, re.search(r"<title>widths (\d+) (\d+)</title>", dom).groups())
    assert client >= width - 20
    assert scroll <= client
