// @ts-check
/**
 * Sends the changes of cancel Inputs to the server, which decides what they end.
 *
 * A change that cannot be sent is sent again when the server is back, unless there is a newer one of the same condition
 * by then. Each change has a number: by it the server knows a change that comes twice, and one that was overtaken.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {streams, requests} = flash;

    /** The number of the last change: a page that comes later by the same token begins higher. */
    let last = Date.now();
    /**
     * The changes that could not be sent, by stream and condition.
     * @type {Map<string, {number: number, send: () => void}>}
     */
    const unsent = new Map();
    /** Called when the server does not know the stream's page any more. */
    let pageUnknown = () => {};

    /**
     * A cancel Input has changed while a stream that depends on it runs.
     * @param {string} stream
     * @param {number | 'layout'} condition
     * @param {any} value
     */
    function change(stream, condition, value) {
        send(stream, condition, value, ++last);
    }

    /**
     * Send a change to the server.
     * @param {string} stream
     * @param {number | 'layout'} condition
     * @param {any} value
     * @param {number} number
     */
    function send(stream, condition, value, number) {
        const key = `${stream} ${condition}`;
        unsent.delete(key);
        const keep = () => {
            if (streams.running.has(stream) && number > (unsent.get(key)?.number ?? 0)) {
                unsent.set(key, {number, send: () => send(stream, condition, value, number)});
            }
        };
        requests.post('cancel', {stream, condition, value, change: number}).then((/** @type {Answer} */ response) => {
            if (response.status === 403 || response.status === 404) {
                // The stream may be lost already, and the page have begun a new life.
                if (streams.running.has(stream)) {
                    pageUnknown();
                }
            } else if (response.status === 429 || response.status >= 500) {
                keep();
            } else if (!response.ok) {
                console.error(`Flash: a change of a cancel Input was refused (${response.status}).`);
            }
        }, keep);
    }

    /** Send the changes again that could not be sent. */
    function sendAgain() {
        [...unsent.values()].forEach(({send}) => send());
    }

    /** Forget the changes that could not be sent: their streams are gone. */
    function forget() {
        unsent.clear();
    }

    /**
     * Call a function when the server answers that it does not know the page.
     * @param {() => void} then
     */
    function onUnknownPage(then) {
        pageUnknown = then;
    }

    Object.assign(flash, {conditions: {onUnknownPage, change, sendAgain, forget}});
})();
