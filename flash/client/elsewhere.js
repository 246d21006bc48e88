// @ts-check
/**
 * Notices streams that run in another server process than the one that the page has its link with, and looks for them.
 *
 * The process that is asked for a stream answers with the life of the channel in which it runs. If that is the life of
 * the page's link, the page gets what the stream says. It may be another one for a moment: where several workers serve
 * an app, the page may have come to another of them, as when its browser's cookie has changed. The one before is told
 * so, and ends the link; the next one reaches the page's new channel.
 *
 * If no link of that life comes within `TIMEOUT`, the page does something itself. Where workers know each other, it opens
 * another link, which reaches the process that has the channel: the one before may not have been told, because it
 * stands still, or the network between the two fails. If that does not help either, or the processes do not know each
 * other, so that each request may reach any of them, the updates of the stream go nowhere, and its event callback says
 * so. In the same way a stream ends where one process serves the app, and the page's link has come too late for it.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {streams, mistakes} = flash;

    /** Milliseconds for which a link of the life may come: the server may have begun a new one for the page. */
    const TIMEOUT = 3_000;
    const ALONE =
        'The page has not connected in time to the server process in which this stream was started, so that its ' +
        'updates cannot come. If several processes serve the app, use `flash run --workers N`, or have them share a ' +
        'Redis. If one does, it was too slow, or the page: raise start_timeout.';
    const NOT_FOUND =
        "This stream runs in another server process than the one that has the page's connection, and a new connection " +
        'has not reached it. Start it again. If this goes on, the log of the server says what is wrong between them.';

    /** The lives that the page's links have had. @type {Set<string>} */
    const linked = new Set();
    /** The lives for whose sake another link was opened. @type {Set<string>} */
    const searched = new Set();
    /** Whether the server processes know each other, as the last `hello` has said. */
    let hasWorkers = false;
    /** Whether the page has a link. */
    let isLinked = () => false;
    /** Opens another link. */
    let replaceLink = () => {};

    /**
     * The page begins.
     * @param {() => boolean} hasLink  whether the page has a link
     * @param {() => void} replace  opens another link in its place
     */
    function begin(hasLink, replace) {
        isLinked = hasLink;
        replaceLink = replace;
    }

    /**
     * `hello` has come: the page has a link. What the inbox does with it may come later than the end of a `TIMEOUT`.
     * @param {string} life  of its channel
     * @param {boolean} workers  whether the server processes know each other
     */
    function noteLink(life, workers) {
        linked.add(life);
        hasWorkers = workers;
    }

    /**
     * The server has taken a start. See to it that the page gets a link of its life.
     * @param {string | null} life  of the channel in which the stream runs, as the server says
     * @param {string} body  of the request
     */
    function check(life, body) {
        if (life && !linked.has(life)) {
            setTimeout(() => search(life, body), TIMEOUT);
        }
    }

    /**
     * The time is over in which a link of the life was to come.
     * @param {string} life
     * @param {string} body
     */
    function search(life, body) {
        if (linked.has(life)) {
            return;
        }
        if (!isLinked()) {
            // The next link may be of this life.
            check(life, body);
        } else if (hasWorkers && !searched.has(life)) {
            searched.add(life);
            replaceLink();
            check(life, body);
        } else {
            giveUp(hasWorkers ? NOT_FOUND : ALONE, body);
        }
    }

    /**
     * The event callback of a start says why nothing comes of it.
     * @param {string} sentence
     * @param {string} body  of the request
     */
    function giveUp(sentence, body) {
        const callback = mistakes.startedBy(JSON.parse(body));
        if (callback !== undefined) {
            console.error(`Flash: ${sentence}`);
            streams.refuseStart(callback, sentence);
        }
    }

    Object.assign(flash, {elsewhere: {begin, noteLink, check}});
})();
