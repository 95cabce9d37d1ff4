"""A page in a browser, with all that it asks for and complains of."""


class OpenedPage:
    """A page in a browser, with all that it asks for and complains of."""

    def __init__(self, browser, path, **options):
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.complaints = []
        self.requests = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.blocked = []
        self.page.on("requestfailed", lambda request: self.blocked.append((request.url, request.failure)))
        self.page.goto(path.as_uri())
        self.page.wait_for_function("document.getElementById('status').textContent !== ''")

    def check(self):
        """Nothing was complained of, and nothing asked for but the page itself."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(("data:", "blob:"))] == [
            self.page.url.partition("#")[0]
        ]
        assert self.page.evaluate("window.hacked") is None
