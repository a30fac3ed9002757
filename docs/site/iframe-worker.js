// The search in a folder without a server: a browser starts no worker from a file, so the search's script runs in a
// hidden frame of the page. The theme would load such a script from another host.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    #frame = document.createElement("iframe");
    #waiting = [];  // messages until the script has been loaded

    constructor(address) {
      super();
      this.#frame.hidden = true;
      this.#frame.srcdoc = "<!doctype html><body></body>";
      this.#frame.onload = () => {
        const inside = this.#frame.contentWindow;
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        const script = inside.document.createElement("script");
        script.src = address;
        script.onload = () => {
          for (const data of this.#waiting.splice(0)) this.#send(data);
          this.#waiting = null;
        };
        inside.document.body.append(script);
      };
      document.body.append(this.#frame);
    }

    #send(data) {
      const inside = this.#frame.contentWindow;
      inside.dispatchEvent(new inside.MessageEvent("message", { data }));
    }

    postMessage(data) {
      if (this.#waiting) this.#waiting.push(data);
      else this.#send(data);
    }

    terminate() { this.#frame.remove(); }
  };
}
