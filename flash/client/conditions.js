// @ts-check
/**
 * Sends the changes of cancel Inputs and of watched ones to the server, which decides what they end.
 *
 * A change that cannot be sent is sent again when the server is back, unless there is a newer one of the same property
 * by then. Each change has a number: by it the server knows a change that comes twice, and one that was overtaken. Of a
 * watched property only the newest value counts: while one is on its way, the next waits, and a newer one replaces it.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {streams, requests} = flash;

    /** The number of the last change: a page that comes later by the same token begins higher. */
    let last = Date.now();
    /**
     * The changes that could not be sent, or wait for the one before, by stream and condition.
     * @type {Map<string, {number: number, send: () => void}>}
     */
    const unsent = new Map();
    /** The watched properties of which a change is on its way, by stream and condition. @type {Set<string>} */
    const onTheirWay = new Set();
    /** Called when the server does not know the stream's page any more. */
    let pageUnknown = () => {};

    /**
     * A cancel Input or a watched one of a stream that runs has changed.
     * @param {string} stream
     * @param {number | 'layout'} condition
     * @param {any} value
     */
    function change(stream, condition, value) {
        const next = onTheirWay.has(`${stream} ${condition}`) ? keep : send;
        next(stream, condition, value, ++last);
    }

    /**
     * Keep a change to be sent later, unless a newer one is kept.
     * @param {string} stream
     * @param {number | 'layout'} condition
     * @param {any} value
     * @param {number} number
     */
    function keep(stream, condition, value, number) {
        const key = `${stream} ${condition}`;
        if (streams.running.has(stream) && number > (unsent.get(key)?.number ?? 0)) {
            unsent.set(key, {number, send: () => send(stream, condition, value, number)});
        }
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
        const watched = condition !== 'layout' && streams.running.get(stream)?.conditions[condition].watched;
        unsent.delete(key);
        if (watched) {
            onTheirWay.add(key);
        }
        requests.post('cancel', {stream, condition, value, change: number}).then((/** @type {Answer} */ response) => {
            onTheirWay.delete(key);
            if (response.status === 403 || response.status === 404) {
                // The stream may be lost already, and the page have begun a new life.
                if (streams.running.has(stream)) {
                    pageUnknown();
                }
            } else if (response.status === 429 || response.status >= 500) {
                keep(stream, condition, value, number);
            } else {
                if (!response.ok) {
                    console.error(`Flash: a change of an Input in cancel= or watch= was refused (${response.status}).`);
                }
                if (watched) {
                    unsent.get(key)?.send();
                }
            }
        }, () => {
            onTheirWay.delete(key);
            keep(stream, condition, value, number);
        });
    }

    /** Send the changes again that could not be sent. */
    function sendAgain() {
        [...unsent.values()].forEach(({send}) => send());
    }

    /** Forget the changes that could not be sent: their streams are gone. */
    function forget() {
        unsent.clear();
        onTheirWay.clear();
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
