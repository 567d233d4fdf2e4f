// The search runs in a Worker, which browsers refuse to a page that was opened as a file. There it runs in a hidden frame
// instead, so that the site can be read and searched without a server and without a network. (Without this file, the
// theme's plugin `offline` would load one of this name from a server.)
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.srcdoc =
        '<script>window.postMessage = (data) => parent.postMessage({ fromSearch: data }, "*");</' + "script>" +
        `<script src="${new URL(url, location.href)}"></` + "script>";
      this.frame.addEventListener("load", () => {
        this.ready = true;
        this.waiting.splice(0).forEach((data) => this.postMessage(data));
      });
      addEventListener("message", (event) => {
        if (event.source === this.frame.contentWindow && event.data && "fromSearch" in event.data) {
          this.dispatchEvent(new MessageEvent("message", { data: event.data.fromSearch }));
        }
      });
      document.body.append(this.frame);
    }

    postMessage(data) {
      if (this.ready) this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
      else this.waiting.push(data);
    }

    terminate() {
      this.frame.remove();
    }
  };
  window.Worker = window.IFrameWorker;
}
