// Search in a page opened from a folder: a browser starts no Worker from a file, so the worker's script runs in a
// hidden frame. The theme would fetch such a script from the network; its name tells the theme that one is here.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const scope = frame.contentWindow
      const deliver = (target, data) => target.dispatchEvent(new MessageEvent("message", { data }))
      scope.postMessage = (data) => deliver(this, data)
      this.ready = new Promise((resolve, reject) => {
        const script = scope.document.createElement("script")
        script.src = url
        script.onload = resolve
        script.onerror = reject
        scope.document.body.append(script)
      })
      this.postMessage = (data) => this.ready.then(() => deliver(scope, data))
    }
  }
}
