// @ts-check
/**
 * Notices starts that have reached another server process than the page's link, and says so on their event callbacks.
 *
 * Where several processes serve an app and do not know each other, each request of a page may reach another one. The
 * process that is asked for a stream answers with the life of the channel in which it runs. If that is the life of the
 * page's link, the page gets what the stream says. If it is another, and no link of that life comes within `TIMEOUT`,
 * the stream runs in a process to which the page has no link: its updates go nowhere.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {streams, mistakes} = flash;

    /** Milliseconds for which a link of the life may come: the server may have begun a new one for the page. */
    const TIMEOUT = 3_000;
    const SENTENCE =
        "This stream was started in another server process than the one that has the page's connection, so that its " +
        'updates cannot come. Serve with `flash run --workers N`, or have the processes share a Redis.';

    /** The lives that the page's links have had. @type {Set<string>} */
    const linked = new Set();
    /** Whether the page has a link. */
    let isLinked = () => false;

    /**
     * The page begins.
     * @param {() => boolean} hasLink  whether the page has a link
     */
    function begin(hasLink) {
        isLinked = hasLink;
    }

    /**
     * `hello`: the page has a link.
     * @param {string} life  of its channel
     */
    function noteLink(life) {
        linked.add(life);
    }

    /**
     * The server has taken a start. See to it that the page gets a link of its life.
     * @param {string | null} life  of the channel in which the stream runs, as the server says
     * @param {string} body  of the request
     */
    function check(life, body) {
        if (!life || linked.has(life)) {
            return;
        }
        setTimeout(() => {
            const callback = mistakes.startedBy(JSON.parse(body));
            if (!isLinked()) {
                // The next link may be of this life.
                check(life, body);
            } else if (!linked.has(life) && callback !== undefined) {
                console.error(`Flash: ${SENTENCE}`);
                streams.refuseStart(callback, SENTENCE);
            }
        }, TIMEOUT);
    }

    Object.assign(flash, {elsewhere: {begin, noteLink, check}});
})();
