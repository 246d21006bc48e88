// @ts-check
/**
 * The page's connection: one EventSource for all its streams, and what goes the other way because of them.
 *
 * `hello` names the life of the page's channel on the server. While the life is the same, a connection that was cut
 * is taken up where the page stands: it says which event it applied last and gets the rest. Another life means that
 * the streams of the last one are gone, and so does a connection that does not come back within the grace: the page
 * then brings itself back to its known-good state.
 *
 * EventSource reconnects by itself when a connection is cut. What it does not notice is a connection that is only
 * half open, after sleep for instance: a watchdog, on the wall clock, misses its pings. And when the server refuses
 * a connection it hides why and stays closed: then `_flash/status` is asked, and a new one is opened after a while
 * that grows with each refusal.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {renderer, streams, inbox, control, reports} = flash;

    const FIRST_RETRY = 1_000;
    const LAST_RETRY = 30_000;
    /** Milliseconds between two looks of the watchdog. */
    const WATCH = 1_000;
    /** Milliseconds that the server may take to answer. */
    const PATIENCE = 10_000;
    /** Pings after which the page acknowledges without having been asked. */
    const LATE = 1.1;
    /** How many pings may be missed. */
    const MISSED = 3;
    /** Milliseconds by which the page waits longer than the server, which ends its streams after the grace. */
    const MARGIN = 1_000;

    /** @type {EventSource | null} */
    let source = null;
    /** What opens the next connection although the browser's cookie has changed; null if nothing need. @type {string | null} */
    let ticket = null;
    /** The life of the channel that the page knows; '' while it knows none. */
    let life = '';
    /** The life that the page has given up: its server may not have noticed. */
    let gone = '';
    /** The id of the last event that was acknowledged. */
    let acknowledged = '';
    /** When that was, on the wall clock. */
    let acknowledgedAt = Date.now();
    /** Seconds, as the server says in `hello`; Infinity for never. */
    let ping = 15;
    let grace = 0;
    /** When the server was last heard of, on the wall clock. */
    let heard = Date.now();
    let retry = FIRST_RETRY;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let losing;
    /** The last refusal that was shown, so that it is shown once. */
    let shown = '';
    let hasBegun = false;
    let replaced = false;
    /** The connection has said hello. */
    let greeted = false;
    /** The page has said goodbye. */
    let left = false;
    /** The number of the last change of a cancel Input: a page that comes later by the same token begins higher. */
    let changes = Date.now();
    /** Those that could not be sent, by stream and condition. @type {Map<string, {number: number, again: () => void}>} */
    const unsent = new Map();

    /**
     * A cancel Input has changed while a stream that depends on it runs.
     * @param {string} stream
     * @param {number | 'layout'} condition
     * @param {any} value
     */
    function change(stream, condition, value) {
        report(stream, condition, value, ++changes);
    }

    /**
     * Tell the server of a change. One that cannot be sent is sent again when the server is back, unless there is a
     * newer one then. By its number the server knows what it has been told before, and what was overtaken on the way.
     * @param {string} stream
     * @param {number | 'layout'} condition
     * @param {any} value
     * @param {number} number
     */
    function report(stream, condition, value, number) {
        const key = `${stream} ${condition}`;
        unsent.delete(key);
        const again = () => {
            if (streams.running.has(stream) && number > (unsent.get(key)?.number ?? 0)) {
                unsent.set(key, {number, again: () => report(stream, condition, value, number)});
            }
        };
        control.post('cancel', {stream, condition, value, change: number}).then((/** @type {Answer} */ response) => {
            if (response.status === 403 || response.status === 404) {
                restart();
            } else if (response.status === 429 || response.status >= 500) {
                again();
            } else if (!response.ok) {
                console.error(`Flash: a change of a cancel Input was refused (${response.status}).`);
            }
        }, again);
    }

    /** The server no longer knows this page as it is: start clean. */
    function restart() {
        close();
        lose();
        connect();
    }

    /** The streams of the page are gone, and what has come of them. */
    function lose() {
        inbox.clear();
        endLife();
    }

    /** The streams of the page are gone; what waits in the inbox is of the next life. */
    function endLife() {
        clearTimeout(losing);
        losing = undefined;
        gone = life || gone;
        life = acknowledged = '';
        inbox.forget();
        unsent.clear();
        streams.lose();
    }

    function close() {
        if (source !== null) {
            source.close();
            source = null;
        }
    }

    /** Tell the server what it need not keep. */
    function acknowledge() {
        if (inbox.applied !== acknowledged) {
            acknowledged = inbox.applied;
            acknowledgedAt = Date.now();
            const again = () => {
                acknowledged = '';
            };
            control.post('ack', {event: inbox.applied}).then((/** @type {Answer} */ {ok}) => ok || again(), again);
        }
    }

    /** Acknowledge in time if the server's question is late: it waits for its turn behind what came before it. */
    function keepUp() {
        if (Date.now() - acknowledgedAt > LATE * ping * 1_000) {
            acknowledge();
        }
    }

    /** The server wants to know how far the page has come; a good time for what it could not be told, too. */
    function answer() {
        acknowledge();
        [...unsent.values()].forEach(({again}) => again());
    }

    /**
     * The connection stands.
     * @param {{life: string, ping: number | null, grace: number | null}} hello
     */
    function greet(hello) {
        retry = FIRST_RETRY;
        shown = '';
        streams.explain(null);
        ping = hello.ping ?? Infinity;
        grace = hello.grace ?? Infinity;
        if (hello.life === gone) {
            // The server has kept what the page has given up. Let it end that; the next life is another.
            control.post('close', {}).catch(() => undefined);
            return;
        }
        if (hello.life !== life) {
            endLife();
            life = hello.life;
        }
        [...unsent.values()].forEach(({again}) => again());
        streams.resume(control.start);
    }

    /** The connection is cut: the streams are lost unless it is back within the grace. */
    function interrupt() {
        if (grace === 0) {
            lose();
        } else if (losing === undefined && life !== '' && grace < Infinity) {
            losing = setTimeout(lose, grace * 1_000 + MARGIN);
        }
    }

    /**
     * What is to be done with each event, in the order in which they came.
     * @type {Record<string, (data: any) => void>}
     */
    const handlers = {
        hello: greet,
        open: data => streams.open(data, change),
        props: streams.update,
        end: streams.end,
        refused: streams.refuse,
        mistake: reports.mistake,
        ping: answer
    };

    /**
     * An event has come.
     * @param {string} name
     * @param {string} text
     * @param {string} id
     */
    function receive(name, text, id) {
        if (name === 'replaced') {
            replaced = true;
            close();
            lose();
            console.warn('Flash: this page has been opened a second time; only the newer one is kept up to date.');
        } else {
            let data;
            if (name === 'hello') {
                greeted = true;
                // In time, even if it will take a while to get to what it announces.
                clearTimeout(losing);
                losing = undefined;
            }
            if (name === 'end') {
                data = JSON.parse(text);
                inbox.abandon(data);
            }
            inbox.push({name, text, data, id});
        }
    }

    function connect() {
        if (source !== null || replaced || left) {
            return;
        }
        // What waits to be applied has come.
        const opened = new EventSource(control.link(inbox.last(), ticket));
        ticket = null;
        source = opened;
        greeted = false;
        heard = Date.now();
        for (const name of [...Object.keys(handlers), 'replaced']) {
            opened.addEventListener(name, event => {
                // EventSource has an `open` of its own, which carries no data.
                if (source === opened && event instanceof MessageEvent) {
                    heard = Date.now();
                    receive(name, event.data, event.lastEventId);
                }
            });
        }
        opened.onerror = () => {
            if (source !== opened) {
                return;
            }
            interrupt();
            if (opened.readyState === EventSource.CLOSED) {
                source = null;
                // Not at once: a page that is being left loses its connection, too.
                setTimeout(() => explain().then(connect), retry);
                retry = Math.min(2 * retry, LAST_RETRY);
            }
        };
    }

    /** Open the connection anew if nothing has been heard for three pings. */
    function watch() {
        const limit = MISSED * ping * 1_000;
        if (source !== null && Date.now() - heard > (greeted ? limit : Math.min(limit, PATIENCE))) {
            close();
            interrupt();
            connect();
        }
    }

    /** Show why the server refuses the connection. */
    async function explain() {
        const {message, ticket: issued} = await control.explain();
        ticket = issued;
        if (message !== '' && message !== shown) {
            console.error(`Flash: no connection: ${message}`);
        }
        shown = message;
        streams.explain(message || null);
    }

    /**
     * The page is there.
     * @param {{token: string, secret: string}} names
     */
    function begin(names) {
        if (hasBegun) {
            return;
        }
        hasBegun = true;
        control.begin(names);
        inbox.begin({handlers, standing: () => life !== '', sliced: keepUp});
        streams.watch(change);
        reports.begin(streams.refuseStart);
        connect();
        setInterval(watch, WATCH);
        document.addEventListener('visibilitychange', watch);
        window.addEventListener('online', watch);
        window.addEventListener('pagehide', () => {
            left = true;
            close();
            lose();
            // The page that has replaced this one goes by the same token.
            control.leave(!replaced);
        });
        // Back from the back/forward cache.
        window.addEventListener('pageshow', () => {
            left = false;
            connect();
            watch();
        });
    }

    /** Begin before the page is drawn, which comes after its first callbacks have been called. */
    function beginEarly() {
        const names = hasBegun ? undefined : renderer.component('_flash')?.props;
        if (names?.token) {
            begin(names);
        }
    }

    /**
     * The hidden component that brings the page its token and its secret.
     * @param {{token: string, secret: string}} props
     */
    function Page(props) {
        renderer.onceDrawn(() => begin(props));
        return null;
    }

    Object.assign(flash, {Page, connection: {beginEarly}});
})();
