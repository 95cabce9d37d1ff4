"""A page in a browser, with all that it asks for and complains of."""


class OpenedPage:
    """A page in a browser, with all that it asks for and complains of."""

    def __init__(self, browser, path, *, script=None, **options):
        self.context = browser.new_context(accept_downloads=True, **options)
        if script is not None:
            self.context.add_init_script(script)
        self.page = self.context.new_page()
        self.complaints = []
        self.requests = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self.answer)
        self.warned = 0  # before leaving with labels that are not downloaded
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.blocked = []
        self.page.on("requestfailed", lambda request: self.blocked.append((request.url, request.failure)))
        self.page.goto(path.as_uri())
        self.page.wait_for_function("document.getElementById('status').textContent !== ''")

    def answer(self, dialog):
        """Leave a page that warns; any other dialog is a complaint."""
        if dialog.type == "beforeunload":
            self.warned += 1
        else:
            self.complaints.append(f"dialog: {dialog.message}")
        dialog.accept()

    def check(self, *, loads=1):
        """Nothing was complained of, and nothing asked for but the page itself, as often as it was loaded."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(("data:", "blob:"))] == [
            self.page.url.partition("#")[0]
        ] * loads
        assert self.page.evaluate("window.hacked") is None
